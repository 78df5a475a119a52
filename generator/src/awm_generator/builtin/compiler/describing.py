"""What a tool's summary and description say."""

import functools
import re

from awm_generator.builtin import language
from awm_generator.builtin.compiler import expressions, interface, phrasing, worlds
from awm_generator.builtin.compiler.worlds import Tool, World

_PERSONAL = re.compile(r"\b(?:I|me|my|we|our|us)\b")
_ANY = {"money": "an amount", "date": "another day", "moment": "another time"}
"""What stands in a clause for an input that is not known yet."""


def summary(world: World, tool: Tool) -> str:
    """One line."""
    one, many = worlds.label(world, tool.entity), worlds.plural(world, tool.entity)
    spec = world.entities[tool.entity]
    your = "your" if world.owner_path(tool.entity) else "the"
    a = worlds.article(one)
    match tool.kind:
        case "me":
            return "Who is signed in"
        case "list":
            return f"Find {your} {many}"
        case "get":
            return f"Look at one {one}"
        case "create":
            return f"{_made(tool, one)} {a} {one}"
        case "update":
            return "Change your own record" if spec.user else f"Change {a} {one}"
        case "delete":
            return f"Delete {a} {one}"
        case "summary":
            return f"Count {your} {many} by group"
        case "bulk":
            return f"{_words(tool.action)} several {many} at once"
    return _done(world, tool)


def description(world: World, tool: Tool) -> str:
    """A few sentences: what it does, what comes back, when it is refused."""
    spec = world.entities[tool.entity]
    one, many = worlds.label(world, tool.entity), worlds.plural(world, tool.entity)
    match tool.kind:
        case "me":
            return f"Your own record as {worlds.article(one)} {one}; its id is 1."
        case "list":
            whose = "Only your own are listed. " if world.owner_path(tool.entity) else ""
            about = f"{spec.about.rstrip('.')}. " if spec.about else ""
            return f"{about}{whose}Filters narrow the result together; total counts all {many} that match."
        case "get":
            return f"All that is known of one {one}, by its id."
        case "create":
            rules = (*(spec.create.rules if spec.create else ()), *spec.rules)
            return f"Makes a new {one} and returns it.{_refusals(tuple(rule.otherwise for rule in rules))}"
        case "update":
            fields = ", ".join(worlds.field_label(n, f) for n, f in spec.fields.items() if f.edit)
            return f"Changes what is given ({fields}) and returns the {one}."
        case "delete":
            return f"Removes the {one} for good and returns it as it was. Refused while other records refer to it."
        case "summary":
            sums = interface.sums(world, tool.entity)
            extra = f" with totals of {', '.join(sums)}" if sums else ""
            return f"How many {many} there are in each group{extra}."
        case "bulk":
            return f"All or nothing: where one of the {many} is refused, none is changed."
    action = spec.actions[tool.action]
    start = f" from {' or '.join(_words(each).lower() for each in action.start)}" if action.start else ""
    moves = (
        f"Takes the {one}{start} to {_words(action.to).lower()}."
        if action.to
        else action.about or f"Returns the {one} as it is then."
    )
    about = f" {action.about}" if action.about and action.to else ""
    return f"{moves}{about}{_refusals(tuple(rule.otherwise for rule in action.rules))}"


@functools.lru_cache(maxsize=2)
def words(world: World) -> str:
    """All words that describe the tools, in lower case with single spaces: a name in them would be given away."""
    texts: list[str] = []
    for tool in world.tools:
        texts += [tool.name, summary(world, tool), description(world, tool)]
        for param in interface.params(world, tool):
            texts += [param.name, param.about, *param.values]
    for entity in world.entities:
        for each in interface.view(world, entity):
            texts += [each.name, each.about]
    return plain(" | ".join(texts))


def plain(text: str) -> str:
    """The words of a text, in lower case with a space around each."""
    words_in = re.findall(r"[^\W_]+", text.casefold())
    return f" {' '.join(words_in)} "


def _refusals(messages: tuple[str, ...]) -> str:
    if not messages:
        return ""
    return " May be refused by the rules of the house; the reply says why."


def _made(tool: Tool, one: str) -> str:
    """The verb of a create tool, where it is none that the thing has its name from."""
    verb = tool.name.removesuffix(f"_{tool.entity}")
    derived = one.split()[-1].startswith(verb) and verb != "add"  # a booking from to book, no address from to add
    return "Make" if derived else _words(verb).replace("New", "Create")


def _done(world: World, tool: Tool) -> str:
    """What an action does; where its name is more than a verb, in the words in which people ask for it."""
    one = worlds.label(world, tool.entity)
    thing = f"{worlds.article(one)} {one}"
    if "_" not in tool.action:
        return f"{_words(tool.action)} {thing}"
    action = world.entities[tool.entity].actions[tool.action]
    inputs = {name: _any(world, field) for name, field in action.inputs.items()}
    for clause in action.say:
        words = {name: text for name, text in {**inputs, "it": thing}.items() if text}
        if set(expressions.holes(clause)) <= words.keys() and not _PERSONAL.search(clause):
            text = phrasing.filled(clause, words)
            return text[:1].upper() + text[1:]
    return f"{_words(tool.action)}: {thing}"


def _any(world: World, field: language.Field) -> str:
    """Words for an input, whatever it will be; none where no words fit into every clause."""
    if field.to:
        other = worlds.label(world, field.to)
        return f"{worlds.article(other)} {other}"
    return _ANY.get(field.type, "")


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()
