"""Whether what a blueprint says makes sense: every name in it leads somewhere, every life cycle can be left."""

import re
from collections.abc import Iterator, Mapping

from awm_generator.builtin import errors, language, shorthand
from awm_generator.builtin.compiler import expressions, interface, resolving

TOOLS = ("list", "get", "create", "update", "delete", "summary")
_MADE = frozenset({"person", "company", "street", "phone"})
_TAKEN = frozenset(
    {"id", "date", "datetime", "session", "request", "q", "sort", "order", "page", "page_size", "limit", "offset",
     "metadata", "registry", "row", "query", "columns", "rows", "ids", "group_by", "direction", "ordered"}
)  # fmt: skip


Slip = tuple[tuple[str | int, ...], str]


def check(subject: resolving.Subject) -> None:
    """Raises for the first thing that makes no sense.

    Raises:
        BlueprintError: with file, line and field.
    """
    for entity in subject.own:
        for path, complaint in _entity(subject, entity):
            raise errors.BlueprintError(subject.document.place("entities", entity, *path), complaint)


def _entity(subject: resolving.Subject, entity: str) -> Iterator[Slip]:
    spec = subject.entities[entity]
    yield from _fields(subject, entity, spec)
    yield from _owner(subject, entity, spec)
    yield from _left_empty(spec)
    yield from _tools(subject, entity, spec)
    if spec.states:
        yield from _life_cycle(subject, entity, spec, spec.states)
    for name in expressions.holes(spec.it):
        field = spec.fields.get(name)
        if field is None and not (spec.states and name == spec.states.field):
            yield ("it",), f"{{{name}}} is no field; there are {', '.join(spec.fields)}"
        if field is not None and field.to == entity:
            yield ("it",), f"{{{name}}} is another {entity}, whose words would have no end"
    if not expressions.holes(spec.it):
        yield ("it",), "names no field, so that all rows would be called the same; write for example the boat {name}"
    yield from _texts(subject, spec)
    yield from _rules(subject, entity, spec)
    yield from _selections(subject, entity, spec)


def _fields(subject: resolving.Subject, entity: str, spec: language.Entity) -> Iterator[Slip]:
    known: dict[str, language.Field] = {}
    for name, field in spec.fields.items():
        path = ("fields", name)
        if name in _TAKEN:
            yield path, f"{name!r} is a word of the generated code; choose another name"
        if field.type == "ref" and field.to not in subject.entities:
            yield path, f"refers to {field.to!r}, which is no entity; there are {', '.join(subject.entities)}"
        if field.to == entity and not field.optional:
            yield path, f"every {entity} would need another one before it; flag it optional"
        if field.maybe and _mentioned(spec, name):
            yield path, "may be left out, but another part of the entity needs it; remove maybe"
        if field.optional and field.unique:
            yield path, "is optional and unique; choose one"
        yield from ((path, complaint) for complaint in _crowded(subject, spec, field))
        yield from ((path, complaint) for complaint in _make(subject, field, field.make, known))
        yield from (((*path, "when", *at), complaint) for at, complaint in _by_state(subject, spec, field, known))
        known[name] = field
    for names in spec.unique:
        yield from ((("unique",), f"{name!r} is no field") for name in names if name not in spec.fields)
    for name in spec.per:
        if name not in spec.fields or spec.fields[name].type != "ref":
            yield ("per", name), "is no reference"


def _crowded(subject: resolving.Subject, spec: language.Entity, field: language.Field) -> Iterator[str]:
    """Whether a unique field has fewer values than there are rows; those of `per` nobody knows before they are made."""
    values = _distinct(subject, field)
    if not field.unique or spec.per or values is None:
        return
    rows = shorthand.bounds(spec.rows)[1]
    if values < rows:
        yield f"is unique, but has {values} values for up to {rows} rows; give it more, or the entity fewer rows"
    elif field.create and values == rows:
        yield f"is unique, and seed rows may use all of its {values} values up; leave some for the create tool"


def _distinct(subject: resolving.Subject, field: language.Field) -> int | None:
    """How many values a field can have; None where that depends on other fields, or does not matter."""
    kind, _, rest = (field.make or "").partition(" ")
    try:
        match field.type:
            case "text" if kind == "from" and not field.like:
                return len(set(subject.vocabulary.get(rest, ()))) or None
            case "text" if kind == "code":
                return int(10 ** rest.count("#"))
            case "integer" | "money" if field.make and not field.set:
                low, high, step = shorthand.bounds(field.make)
                return len(range(low, high + 1, step))
            case "choice":
                return len(field.values)
    except ValueError:
        pass  # told where its values are looked at
    return None


def _mentioned(spec: language.Entity, name: str) -> bool:
    """Whether any part of an entity but the field itself has its name in it."""
    others = spec.model_copy(update={"fields": {key: each for key, each in spec.fields.items() if key != name}})
    return re.search(rf"\b{name}\b", others.model_dump_json()) is not None


def _by_state(
    subject: resolving.Subject, spec: language.Entity, field: language.Field, known: Mapping[str, language.Field]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """What is wrong with a field's values by state."""
    if field.when and spec.states is None:
        yield (), "has values by state, but the entity has no states"
    if field.when and field.set:
        yield (), "would have no effect: the field is computed with set; let that depend on the state"
    for state, make in field.when.items():
        if spec.states and state not in spec.states.seed:
            yield (state,), f"{state!r} is no state; there are {', '.join(spec.states.seed)}"
        if make is None:
            if not field.optional:
                yield (state,), "leaves the field empty; flag it optional"
        elif field.type == "ref":
            yield (state,), "a reference may be empty in a state (null), and nothing else"
        else:
            yield from (((state,), complaint) for complaint in _make(subject, field, make, known))


def _make(
    subject: resolving.Subject, field: language.Field, make: str | None, known: Mapping[str, language.Field]
) -> Iterator[str]:
    if field.type == "text" and field.set is None:
        yield from _text_make(subject, field, make or "", known)
        return
    if make is None or field.type == "ref":
        return
    if field.type == "choice":
        unknown = [value for value in shorthand.choices(make) if value not in field.values]
        yield from (f"{value!r} is no value; there are {', '.join(field.values)}" for value in unknown)
        return
    if field.type == "flag":
        if not make.isdigit() or int(make) > 100:
            yield f"{make!r}: write in how many of a hundred it is true, for example flag 30"
        return
    words = make.split()
    if words and words[0] == "after" and field.type in ("date", "moment", "stamp"):
        times = [name for name, each in known.items() if each.type in ("date", "moment", "stamp")]
        if len(words) != 3 or words[1] not in times:
            there = ", ".join(times) or "none"
            yield f"{make!r}: write after FIELD LOW..HIGH with a date or moment that stands above; there are {there}"
            return
        if known[words[1]].optional and not field.optional:
            yield f"{make!r}: {words[1]} may be empty; flag this field optional, too"
        make = words[2]
    try:
        shorthand.bounds(make)
    except ValueError as exc:
        yield str(exc)


def _text_make(
    subject: resolving.Subject, field: language.Field, make: str, known: Mapping[str, language.Field]
) -> Iterator[str]:
    if field.like:
        for name in expressions.holes(field.like):
            above = known.get(name)
            if above is not None and (above.type == "ref" or above.optional or above.set):
                yield f"like: {{{name}}} has no text of its own at this point: it refers, is computed, or may be empty"
            elif above is None and name not in subject.vocabulary and name not in _MADE:
                yield f"like: {{{name}}} is neither a list of the vocabulary nor a field above"
        return
    kind, _, rest = make.partition(" ")
    if kind == "email" and rest.removeprefix("of ").strip() not in known:
        yield f"{make!r}: write email of FIELD with a field that stands above"
    elif kind == "code" and "#" not in rest:
        yield f"{make!r}: write code AB-####, a digit for each #; in quotes, where YAML would take it for a comment"
    elif kind == "from" and rest not in subject.vocabulary:
        yield f"the vocabulary has no list {rest!r}"
    elif kind not in ("from", "code", "email", "phone", "street", "person", "company"):
        yield f"{make!r}: write from LIST, code AB-####, email of FIELD, person, company, street or phone"


def _owner(subject: resolving.Subject, entity: str, spec: language.Entity) -> Iterator[Slip]:
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


def _tools(subject: resolving.Subject, entity: str, spec: language.Entity) -> Iterator[Slip]:
    for number, tool in enumerate(spec.tools):
        kind = tool.removeprefix("maybe ")
        if kind not in TOOLS:
            yield ("tools", number), f"unknown tool {kind!r}; there are {', '.join(TOOLS)}, each with maybe before it"
        if kind == "create" and spec.create is None:
            yield ("tools", number), "there is a create tool, but no create part that says how"
        if kind == "update" and not any(field.edit for field in spec.fields.values()):
            yield ("tools", number), "there is an update tool, but no field has the flag edit"
        if kind == "summary" and not interface.groups(subject.entities, entity, lasting=True):
            yield (
                ("tools", number),
                "a summary counts by a choice, a state or a reference to something with a name, and there is none that "
                "is never left out",
            )
    if spec.create and not any(tool.endswith("create") for tool in spec.tools):
        yield ("create",), "is of no use: tools has no create"


def _life_cycle(
    subject: resolving.Subject, entity: str, spec: language.Entity, states: language.States
) -> Iterator[Slip]:
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
    moved = resolving.states_set_elsewhere(subject, entity, states)
    for state in states.seed:
        leaving = [a for a in spec.actions.values() if a.to and a.to != state and (not a.start or state in a.start)]
        if state not in states.final and not leaving and not moved - {state}:
            yield (
                ("states",),
                f"the state {state!r} cannot be left: no action leads out of it; add one, or name it under final",
            )


def _texts(subject: resolving.Subject, spec: language.Entity) -> Iterator[Slip]:
    if spec.create:
        fields = {name: field for name, field in spec.fields.items() if field.create}
        yield from _says(("create", "say"), spec.create.say, fields, ())
    for name, action in spec.actions.items():
        yield from _says(("actions", name, "say"), action.say, action.inputs, ("it",))
        for key, field in action.inputs.items():
            for complaint in _make(subject, field, field.make, {}):
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


def _rules(subject: resolving.Subject, entity: str, spec: language.Entity) -> Iterator[Slip]:
    places: list[tuple[tuple[str | int, ...], language.Rule, Mapping[str, language.Field]]] = []
    places += [(("rules", number), rule, {}) for number, rule in enumerate(spec.rules)]
    if spec.create:
        places += [(("create", "rules", number), rule, {}) for number, rule in enumerate(spec.create.rules)]
    for name, action in spec.actions.items():
        places += [(("actions", name, "rules", n), rule, action.inputs) for n, rule in enumerate(action.rules)]
    for path, rule, inputs in places:
        yield from (((*path, "require"), each) for each in resolving.expression(subject, entity, rule.require, inputs))
        for hole in expressions.holes(rule.otherwise):
            yield from (((*path, "else"), each) for each in resolving.expression(subject, entity, hole, inputs))
            if '"' in hole or "'" in hole:
                yield (*path, "else"), f"{{{hole}}}: only names and dots here"
    for place, statements, inputs in resolving.statements(spec):
        for number, text in enumerate(statements):
            at: tuple[str | int, ...] = (*place, number)
            yield from ((at, each) for each in resolving.statement(subject, entity, text, inputs))
    for name, text in spec.shows.items():
        yield from ((("shows", name), each) for each in resolving.expression(subject, entity, text, {}))
    for name, field in spec.fields.items():
        for key, value in (("set", field.set), ("begins", field.begins)):
            if value:
                yield from ((("fields", name, key), each) for each in resolving.expression(subject, entity, value, {}))
                yield from (
                    (("fields", name, key), each) for each in resolving.fitting(subject, entity, value, {}, field.to)
                )


def _selections(subject: resolving.Subject, entity: str, spec: language.Entity) -> Iterator[Slip]:
    described: list[tuple[str, int, language.Selection | language.Question]] = []
    described += [("selections", number, each) for number, each in enumerate(spec.selections)]
    described += [("questions", number, each) for number, each in enumerate(spec.questions)]
    for kind, number, each in described:
        where = each.where
        for name, values in each.given.items():
            if f"{{{name}}}" not in each.say or f"{{{name}}}" not in each.where:
                yield (kind, number, "given", name), f"{{{name}}} stands in only one of say and where, or in neither"
            where = where.replace(f"{{{name}}}", str(values[0]))
        yield from (
            ((kind, number, "where"), complaint) for complaint in resolving.expression(subject, entity, where, {})
        )
        for key in ("lowest", "highest", "total", "tell"):
            wanted: str | None = getattr(each, key, None)
            if wanted is not None and wanted not in spec.fields and wanted not in spec.shows:
                yield (kind, number, key), f"{wanted!r} is no field; there are {', '.join(spec.fields)}"
        if isinstance(each, language.Selection) and sum([bool(each.lowest), bool(each.highest), each.each]) != 1:
            yield (kind, number), "a selection has exactly one of lowest, highest and each"
