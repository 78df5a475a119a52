"""What a scenario's tools take and give. Code, specification and tasks are made from this one description."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from awm_generator.builtin import language
from awm_generator.builtin.compiler import worlds

MOST = 1_000_000
PAGE_MOST = 100
BULK_MOST = 20

Location = Literal["path", "query", "body"]
Type = Literal["text", "integer", "date", "moment", "choice", "flag", "id", "ids"]


@dataclass(frozen=True)
class Param:
    """An argument of a tool.

    Attributes:
        field: The field that it sets or filters by, where there is one.
        default: As Python source; None where there is none.
    """

    name: str
    location: Location
    type: Type
    about: str
    required: bool = False
    default: str | None = None
    values: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None
    field: str = ""
    entity: str = ""


@dataclass(frozen=True)
class Attribute:
    """A value in a reply.

    Attributes:
        kind: A column, a computed value (`shows`) or the name of a row that is referred to (`title`).
    """

    name: str
    kind: Literal["id", "column", "title", "shown"]
    type: Literal["integer", "text", "flag"]
    optional: bool = False
    about: str = ""
    field: str = ""


def params(world: worlds.World, tool: worlds.Tool) -> tuple[Param, ...]:
    """The arguments of a tool, in order."""
    spec = world.entities[tool.entity]
    match tool.kind:
        case "list":
            return (*_filters(world, tool.entity), *_paging(world, spec))
        case "summary":
            choices = groups(world.entities, tool.entity)
            group = Param("group_by", "query", "choice", "What to count by", True, values=tuple(choices))
            return (group, *(each for each in _filters(world, tool.entity) if each.type == "choice"))
        case "create":
            return tuple(_body(name, field) for name, field in spec.fields.items() if field.create)
        case "update":
            editable = {name: field for name, field in spec.fields.items() if field.edit}
            key = () if spec.user else (_id(world, tool.entity),)
            return (*key, *(_change(name, field) for name, field in editable.items()))
        case "action":
            inputs = spec.actions[tool.action].inputs
            return (_id(world, tool.entity), *(_body(name, field) for name, field in inputs.items()))
        case "bulk":
            many = worlds.plural(world, tool.entity)
            about = f"Ids of the {many}, all of which or none are changed"
            return (Param("ids", "body", "ids", about, True, most=BULK_MOST, entity=tool.entity),)
        case "get" | "delete":
            return (_id(world, tool.entity),)
    return ()


def view(world: worlds.World, entity: str) -> tuple[Attribute, ...]:
    """What a reply says of a row."""
    return tuple(_attributes(world, entity))


def _attributes(world: worlds.World, entity: str) -> Iterator[Attribute]:
    spec = world.entities[entity]
    yield Attribute("id", "id", "integer")
    for name, field in spec.fields.items():
        if field.type == "ref":
            target = worlds.title_field(world.entities[str(field.to)])
            yield Attribute(f"{name}_id", "column", "integer", field.optional, field=name)
            if target:
                about = f"Its {target}" if target != "name" else ""
                yield Attribute(name, "title", "text", field.optional, about=about, field=name)
            continue
        kind: Literal["integer", "text", "flag"] = (
            "integer" if field.type in ("integer", "money") else "flag" if field.type == "flag" else "text"
        )
        yield Attribute(name, "column", kind, field.optional, about=_about(name, field), field=name)
    if spec.states:
        states = ", ".join(worlds.state_values(spec))
        yield Attribute(spec.states.field, "column", "text", about=f"One of: {states}", field=spec.states.field)
    for name in spec.shows:
        yield Attribute(name, "shown", "integer", about="", field=name)


def groups(entities: Mapping[str, language.Entity], entity: str, *, lasting: bool = False) -> dict[str, str]:
    """What a summary may count by: names of choices, states and references, each with its kind.

    Args:
        entities: All entities.
        entity: The one that is counted.
        lasting: Whether only fields count that are never left out.
    """
    spec = entities[entity]
    fields = {name: field for name, field in spec.fields.items() if not (lasting and field.maybe)}
    found = {name: "column" for name, field in fields.items() if field.type == "choice"}
    if spec.states:
        found[spec.states.field] = "column"
    owner = spec.owner.split(".")[0] if spec.owner else ""
    for name, field in fields.items():
        foreign = field.type == "ref" and not field.optional and name != owner
        if foreign and (target := entities.get(str(field.to))) and worlds.title_field(target):
            found[name] = "title"
    return found


def sums(world: worlds.World, entity: str) -> tuple[str, ...]:
    """The fields that a summary adds up."""
    fields = world.entities[entity].fields.items()
    return tuple(name for name, field in fields if field.type == "money" and not field.optional)


def searched(spec: language.Entity) -> tuple[str, ...]:
    """The text fields that `q` looks in."""
    return tuple(name for name, field in spec.fields.items() if field.search and field.type == "text")


def sorts(spec: language.Entity) -> tuple[str, ...]:
    """The fields that a list can be sorted by."""
    found = [name for name, field in spec.fields.items() if field.sort]
    first = worlds.title_field(spec)
    return tuple(dict.fromkeys([*([first] if first else []), *found, "id"]))


def choices(spec: language.Entity, name: str) -> tuple[str, ...]:
    """The values of a choice or of the state."""
    if spec.states and name == spec.states.field:
        return worlds.state_values(spec)
    return tuple(spec.fields[name].values)


def _filters(world: worlds.World, entity: str) -> Iterator[Param]:
    spec = world.entities[entity]
    if words := searched(spec):
        listed = " or ".join(worlds.field_label(name, spec.fields[name]) for name in words)
        yield Param("q", "query", "text", f"Part of the {listed}")
    if spec.states:
        values = worlds.state_values(spec)
        yield Param(
            spec.states.field, "query", "choice", "Only those in this state", values=values, field=spec.states.field
        )
    for name, field in spec.fields.items():
        label = worlds.field_label(name, field)
        if not field.filter:
            continue
        if field.type == "choice":
            about = f"Only with this {label}"
            yield Param(name, "query", "choice", about, values=tuple(field.values), field=name)
        elif field.type == "ref":
            about = f"Id of the {label}"
            yield Param(f"{name}_id", "query", "id", about, field=name, entity=str(field.to))
        elif field.type == "flag":
            yield Param(name, "query", "flag", _which(label, field), field=name)
        elif field.type in ("date", "moment", "stamp"):
            yield Param(f"{name}_from", "query", "date", f"Only with a {label} on or after this day", field=name)
            yield Param(f"{name}_to", "query", "date", f"Only with a {label} on or before this day", field=name)
        elif field.type in ("integer", "money"):
            what = _sentence(label) + (" in cents" if field.type == "money" else "")
            yield Param(f"min_{name}", "query", "integer", f"{what}, at least", least=0, most=10**9, field=name)
            yield Param(f"max_{name}", "query", "integer", f"{what}, at most", least=0, most=10**9, field=name)


def _which(label: str, field: language.Field) -> str:
    """What a filter by a flag keeps."""
    if field.words:
        return f"True: {field.words[0]}; false: {field.words[1]}"
    return f"{_sentence(label)}: only where this is so (true), or is not (false)"


def _paging(world: worlds.World, spec: language.Entity) -> Iterator[Param]:
    options = sorts(spec)
    yield Param("sort", "query", "choice", "What to sort by", default=f'"{options[0]}"', values=options)
    yield Param("order", "query", "choice", "Direction of the sort", default='"asc"', values=("asc", "desc"))
    if world.style.offset:
        yield Param("offset", "query", "integer", "How many to skip", default="0", least=0, most=MOST)
        yield Param("limit", "query", "integer", "How many to return", default="20", least=1, most=PAGE_MOST)
    else:
        yield Param("page", "query", "integer", "Page to show", default="1", least=1, most=10_000)
        yield Param("page_size", "query", "integer", "Rows on a page", default="20", least=1, most=PAGE_MOST)


def _id(world: worlds.World, entity: str) -> Param:
    return Param(f"{entity}_id", "path", "id", f"Id of the {worlds.label(world, entity)}", True, entity=entity)


def _body(name: str, field: language.Field) -> Param:
    kinds: dict[str, Type] = {"money": "integer", "ref": "id", "stamp": "moment"}
    kind: Type = kinds.get(field.type, field.type)  # type: ignore[arg-type]
    number = kind == "integer"
    return Param(
        worlds.column(name, field),
        "body",
        kind,
        _about(name, field) or _sentence(worlds.field_label(name, field)),
        required=not field.optional,
        default="None" if field.optional else None,
        values=tuple(field.values),
        least=(0 if field.least is None else field.least) if number else None,
        most=(MOST if field.most is None else field.most) if number else None,
        field=name,
        entity=str(field.to) if field.type == "ref" else "",
    )


def _change(name: str, field: language.Field) -> Param:
    whole = _body(name, field)
    about = f"{whole.about.rstrip('.')}; unchanged when left out"
    return Param(**{**vars(whole), "required": False, "default": "None", "about": about})


def _about(name: str, field: language.Field) -> str:
    if field.about:
        return field.about
    label = _sentence(worlds.field_label(name, field))
    match field.type:
        case "money":
            return f"{label}, in cents"
        case "date":
            return f"{label}, YYYY-MM-DD"
        case "moment" | "stamp":
            return f"{label}, UTC"
        case "choice":
            return f"{label}: {', '.join(field.values)}"
    return ""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
