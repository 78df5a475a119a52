"""Whether what a blueprint says makes sense: every name in it leads somewhere, every life cycle can be left."""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from awm_generator.builtin import errors, language, reading, shorthand
from awm_generator.builtin.compiler import expressions

TOOLS = ("list", "get", "create", "update", "delete", "summary")
_WORDS = frozenset({"me", "self", "today", "now"})
_TAKEN = frozenset(
    {"id", "date", "datetime", "session", "request", "q", "sort", "order", "page", "page_size", "limit", "offset",
     "metadata", "registry", "row", "query", "columns", "rows", "ids", "group_by", "direction", "ordered"}
)  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """What is checked: entities with the document that they stand in."""

    document: reading.Document
    entities: Mapping[str, language.Entity]
    own: tuple[str, ...]
    vocabulary: frozenset[str]


Slip = tuple[tuple[str | int, ...], str]


def check(subject: Subject) -> None:
    """Raises for the first thing that makes no sense.

    Raises:
        BlueprintError: with file, line and field.
    """
    for entity in subject.own:
        for path, complaint in _entity(subject, entity):
            raise errors.BlueprintError(subject.document.place("entities", entity, *path), complaint)


def _entity(subject: Subject, entity: str) -> Iterator[Slip]:
    spec = subject.entities[entity]
    yield from _fields(subject, spec)
    yield from _owner(subject, entity, spec)
    yield from _left_empty(spec)
    yield from _tools(spec)
    if spec.states:
        yield from _life_cycle(spec, spec.states)
    for name in expressions.holes(spec.it):
        if name not in spec.fields and not (spec.states and name == spec.states.field):
            yield ("it",), f"{{{name}}} is no field; there are {', '.join(spec.fields)}"
    if not expressions.holes(spec.it):
        yield ("it",), "names no field, so that all rows would be called the same; write for example the boat {name}"
    yield from _texts(subject, spec)
    yield from _rules(subject, entity, spec)
    yield from _selections(subject, entity, spec)


def _fields(subject: Subject, spec: language.Entity) -> Iterator[Slip]:
    known: list[str] = []
    for name, field in spec.fields.items():
        path = ("fields", name)
        if name in _TAKEN:
            yield path, f"{name!r} is a word of the generated code; choose another name"
        if field.type == "ref" and field.to not in subject.entities:
            yield path, f"refers to {field.to!r}, which is no entity; there are {', '.join(subject.entities)}"
        if field.maybe and _mentioned(spec, name):
            yield path, "may be left out, but another part of the entity needs it; remove maybe"
        if field.optional and field.unique:
            yield path, "is optional and unique; choose one"
        for make in [field.make, *field.when.values()]:
            yield from ((path, complaint) for complaint in _make(subject, field, make, known))
        if spec.states is None and field.when:
            yield path, "has values by state, but the entity has no states"
        if spec.states:
            yield from ((path, f"{state!r} is no state") for state in field.when if state not in spec.states.seed)
        known.append(name)
    for names in spec.unique:
        yield from ((("unique",), f"{name!r} is no field") for name in names if name not in spec.fields)
    for name in spec.per:
        if name not in spec.fields or spec.fields[name].type != "ref":
            yield ("per", name), "is no reference"


def _mentioned(spec: language.Entity, name: str) -> bool:
    """Whether any part of an entity but the field itself has its name in it."""
    others = spec.model_copy(update={"fields": {key: each for key, each in spec.fields.items() if key != name}})
    return re.search(rf"\b{name}\b", others.model_dump_json()) is not None


def _make(subject: Subject, field: language.Field, make: str | None, known: list[str]) -> Iterator[str]:
    if field.type == "text" and field.set is None:
        yield from _text_make(subject, field, make or "", known)
        return
    if make is None or field.type in ("choice", "flag", "ref"):
        return
    words = make.split()
    if words and words[0] == "after" and field.type in ("date", "moment", "stamp"):
        if len(words) != 3 or words[1] not in known:
            yield f"{make!r}: write after FIELD LOW..HIGH with a field that stands above; there are {', '.join(known)}"
            return
        make = words[2]
    try:
        shorthand.bounds(make)
    except ValueError as exc:
        yield str(exc)


def _text_make(subject: Subject, field: language.Field, make: str, known: list[str]) -> Iterator[str]:
    if field.like:
        for name in expressions.holes(field.like):
            if name not in subject.vocabulary and name not in known and name not in ("person", "company", "street"):
                yield f"like: {{{name}}} is neither a list of the vocabulary nor a field above"
        return
    kind, _, rest = make.partition(" ")
    if kind == "email" and rest.removeprefix("of ").strip() not in known:
        yield f"{make!r}: write email of FIELD with a field that stands above"
    elif kind == "from" and rest not in subject.vocabulary:
        yield f"the vocabulary has no list {rest!r}"
    elif kind not in ("from", "code", "email", "phone", "street", "person", "company"):
        yield f"{make!r}: write from LIST, code AB-####, email of FIELD, person, company, street or phone"


def _owner(subject: Subject, entity: str, spec: language.Entity) -> Iterator[Slip]:
    at = entity
    for name in spec.owner.split(".") if spec.owner else ():
        field = subject.entities[at].fields.get(name)
        if field is None or field.type != "ref" or field.to not in subject.entities:
            yield ("owner",), f"{name!r} is no reference of {at}"
            return
        at = str(field.to)
    if spec.owner and not subject.entities[at].user:
        yield ("owner",), f"leads to {at}, not to the user"


def _left_empty(spec: language.Entity) -> Iterator[Slip]:
    """Fields that the create tool would leave without a value."""
    if spec.create is None:
        return
    for name, field in spec.fields.items():
        given = (
            field.create or field.optional or field.set or field.begins or field.type == "stamp" or name == spec.owner
        )
        if not given:
            yield (
                ("fields", name),
                "the create tool leaves it empty: flag it create or optional, or say with begins what it starts with",
            )


def _tools(spec: language.Entity) -> Iterator[Slip]:
    for number, tool in enumerate(spec.tools):
        kind = tool.removeprefix("maybe ")
        if kind not in TOOLS:
            yield ("tools", number), f"unknown tool {kind!r}; there are {', '.join(TOOLS)}, each with maybe before it"
        if kind == "create" and spec.create is None:
            yield ("tools", number), "there is a create tool, but no create part that says how"
        if kind == "update" and not any(field.edit for field in spec.fields.values()):
            yield ("tools", number), "there is an update tool, but no field has the flag edit"
    if spec.create and not any(tool.endswith("create") for tool in spec.tools):
        yield ("create",), "is of no use: tools has no create"


def _life_cycle(spec: language.Entity, states: language.States) -> Iterator[Slip]:
    known = ", ".join(states.seed)
    for field, names in (("start", (states.start,)), ("final", states.final)):
        yield from (
            (("states", field), f"{name!r} is no state; there are {known}") for name in names if name not in states.seed
        )
    for name, action in spec.actions.items():
        yield from (
            (("actions", name, "from"), f"{state!r} is no state; there are {known}")
            for state in action.start
            if state not in states.seed
        )
        if action.to is not None and action.to not in states.seed:
            yield ("actions", name, "to"), f"{action.to!r} is no state; there are {known}"
    for state in states.seed:
        leaving = [a for a in spec.actions.values() if a.to and a.to != state and (not a.start or state in a.start)]
        if state not in states.final and not leaving:
            yield (
                ("states",),
                f"the state {state!r} cannot be left: no action leads out of it; add one, or name it under final",
            )


def _texts(subject: Subject, spec: language.Entity) -> Iterator[Slip]:
    if spec.create:
        fields = {name: field for name, field in spec.fields.items() if field.create}
        yield from _says(("create", "say"), spec.create.say, fields, ())
    for name, action in spec.actions.items():
        yield from _says(("actions", name, "say"), action.say, action.inputs, ("it",))
        for key, field in action.inputs.items():
            for complaint in _make(subject, field, field.make, []):
                yield ("actions", name, "inputs", key), complaint
    for text in spec.delete:
        if "{it}" not in text:
            yield ("delete",), f"{text!r} does not say what is deleted: write {{it}}"


def _says(
    path: tuple[str, ...], says: tuple[str, ...], fields: Mapping[str, language.Field], more: tuple[str, ...]
) -> Iterator[Slip]:
    needed = {*more, *(name for name, field in fields.items() if not field.optional)}
    for number, say in enumerate(says):
        holes = set(expressions.holes(say))
        for name in sorted(holes - fields.keys() - set(more)):
            yield (*path, number), f"{{{name}}} is no input; there are {', '.join([*more, *fields])}"
        for name in sorted(needed - holes):
            yield (*path, number), f"does not mention {{{name}}}, which the tool requires"


def _rules(subject: Subject, entity: str, spec: language.Entity) -> Iterator[Slip]:
    places: list[tuple[tuple[str | int, ...], language.Rule, Mapping[str, language.Field]]] = []
    places += [(("rules", number), rule, {}) for number, rule in enumerate(spec.rules)]
    if spec.create:
        places += [(("create", "rules", number), rule, {}) for number, rule in enumerate(spec.create.rules)]
    for name, action in spec.actions.items():
        places += [(("actions", name, "rules", n), rule, action.inputs) for n, rule in enumerate(action.rules)]
    for path, rule, inputs in places:
        yield from (((*path, "require"), each) for each in _expression(subject, entity, rule.require, inputs))
        for hole in expressions.holes(rule.otherwise):
            yield from (((*path, "else"), each) for each in _expression(subject, entity, hole, inputs))
            if '"' in hole or "'" in hole:
                yield (*path, "else"), f"{{{hole}}}: only names and dots here"
    for place, statements, inputs in _statements(spec):
        for number, text in enumerate(statements):
            at: tuple[str | int, ...] = (*place, number)
            yield from ((at, each) for each in _statement(subject, entity, text, inputs))
    for name, text in spec.shows.items():
        yield from ((("shows", name), each) for each in _expression(subject, entity, text, {}))
    for name, field in spec.fields.items():
        for key, value in (("set", field.set), ("begins", field.begins)):
            if value:
                yield from ((("fields", name, key), each) for each in _expression(subject, entity, value, {}))


def _statements(
    spec: language.Entity,
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], Mapping[str, language.Field]]]:
    yield ("seeded",), spec.seeded, {}
    if spec.create:
        yield ("create", "do"), spec.create.do, {}
    for name, action in spec.actions.items():
        yield ("actions", name, "do"), action.do, action.inputs


def _selections(subject: Subject, entity: str, spec: language.Entity) -> Iterator[Slip]:
    described: list[tuple[str, int, language.Selection | language.Question]] = []
    described += [("selections", number, each) for number, each in enumerate(spec.selections)]
    described += [("questions", number, each) for number, each in enumerate(spec.questions)]
    for kind, number, each in described:
        where = each.where
        for name, values in each.given.items():
            if f"{{{name}}}" not in each.say or f"{{{name}}}" not in each.where:
                yield (kind, number, "given", name), f"{{{name}}} stands in only one of say and where, or in neither"
            where = where.replace(f"{{{name}}}", str(values[0]))
        yield from (((kind, number, "where"), complaint) for complaint in _expression(subject, entity, where, {}))
        for key in ("lowest", "highest", "total", "tell"):
            wanted: str | None = getattr(each, key, None)
            if wanted is not None and wanted not in spec.fields and wanted not in spec.shows:
                yield (kind, number, key), f"{wanted!r} is no field; there are {', '.join(spec.fields)}"
        if isinstance(each, language.Selection) and sum([bool(each.lowest), bool(each.highest), each.each]) != 1:
            yield (kind, number), "a selection has exactly one of lowest, highest and each"


def _statement(subject: Subject, entity: str, text: str, inputs: Mapping[str, language.Field]) -> Iterator[str]:
    try:
        node = expressions.assignment(text)
    except ValueError as exc:
        yield str(exc)
        return
    if isinstance(node, ast.Call):
        target = ast.literal_eval(node.args[0]) if node.args else ""
        if target not in subject.entities:
            yield f"{text!r}: {target!r} is no entity"
            return
        for keyword in node.keywords:
            if keyword.arg not in subject.entities[target].fields:
                yield f"{text!r}: {target} has no field {keyword.arg!r}"
            yield from _names(subject, entity, keyword.value, inputs, text)
        return
    yield from _names(subject, entity, node, inputs, text)
    for call in expressions.calls(node.value):
        if isinstance(call.func, ast.Name) and call.func.id in ("count", "total", "overlapping"):
            yield f"{text!r}: {call.func.id} is for rules and shows, not for do"


def _expression(subject: Subject, entity: str, text: str, inputs: Mapping[str, language.Field]) -> Iterator[str]:
    try:
        node = expressions.parse(text)
    except ValueError as exc:
        yield str(exc)
        return
    yield from _names(subject, entity, node, inputs, text)
    for call in expressions.calls(node):
        yield from _call(subject, call, text)


def _names(
    subject: Subject, entity: str, node: ast.AST, inputs: Mapping[str, language.Field], text: str
) -> Iterator[str]:
    for path in expressions.paths(node):
        complaint = _path(subject, entity, path, inputs)
        if complaint:
            yield f"{text!r}: {complaint}"


def _path(subject: Subject, entity: str, path: tuple[str, ...], inputs: Mapping[str, language.Field]) -> str | None:
    at: str | None = entity
    for number, name in enumerate(path):
        if at is None:
            return f"{'.'.join(path[:number])} is no reference, so that .{name} leads nowhere"
        spec = subject.entities[at]
        field = inputs.get(name) if number == 0 else None
        field = field or spec.fields.get(name)
        if number == 0 and name in _WORDS:
            at = (
                next(k for k, e in subject.entities.items() if e.user)
                if name == "me"
                else entity
                if name == "self"
                else None
            )
        elif field is not None:
            at = str(field.to) if field.type == "ref" else None
        elif name in spec.shows or (spec.states and name == spec.states.field):
            at = None
        else:
            return f"{at} has no field {name!r}; there are {', '.join([*inputs, *spec.fields])}"
    return None


def _call(subject: Subject, call: ast.Call, text: str) -> Iterator[str]:
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    if name not in ("count", "total", "overlapping"):
        return
    first = call.args[0] if call.args else None
    if not isinstance(first, ast.Constant) or first.value not in subject.entities:
        yield f"{text!r}: {name} begins with the name of an entity in quotes"
        return
    spec = subject.entities[str(first.value)]
    states = {spec.states.field} if spec.states else set()
    fields = [str(keyword.arg) for keyword in call.keywords]
    fields += [str(each.value) for each in call.args[1:3] if isinstance(each, ast.Constant) and name != "count"]
    for field in fields:
        if field not in spec.fields and field not in states:
            yield f"{text!r}: {first.value!r} has no field {field!r}; there are {', '.join([*spec.fields, *states])}"
