"""The classes of environment.py: tables, what tools give, what they take."""

from awm_generator.builtin import language
from awm_generator.builtin.compiler import interface, layout, worlds

_TYPES = {"integer": "int", "money": "int", "flag": "bool"}
_PARAM_TYPES = {"text": "str", "integer": "int", "date": "date", "moment": "datetime", "flag": "bool", "id": "Id"}


def tables(world: worlds.World) -> str:
    """A mapped class for each table."""
    return "\n\n\n".join(_table(world, entity) for entity in world.entities)


def views(world: worlds.World) -> str:
    """For each entity what a reply says of a row, and of a page of rows."""
    return "\n\n\n".join(text for entity in world.entities for text in _views(world, entity))


def requests(world: worlds.World) -> str:
    """The bodies that tools take."""
    found = [_request(world, tool) for tool in world.tools]
    return "\n\n\n".join(dict.fromkeys(text for text in found if text))


def view_functions(world: worlds.World) -> str:
    """For each entity the function that makes its view."""
    return "\n\n\n".join(_view_function(world, entity) for entity in world.entities)


def request_name(tool: worlds.Tool) -> str:
    """The name of the class that a tool's body is."""
    if tool.kind == "bulk":
        return f"{worlds.class_name(tool.entity)}Ids"
    word = {"create": "", "update": "Changes", "action": tool.action.title().replace("_", "")}[tool.kind]
    return f"{worlds.class_name(tool.entity)}{word}{'' if tool.kind == 'update' else 'Request'}"


def body(world: worlds.World, tool: worlds.Tool) -> tuple[interface.Param, ...]:
    """The arguments of a tool that travel in its body."""
    return tuple(param for param in interface.params(world, tool) if param.location == "body")


def annotation(param: interface.Param) -> str:
    """The type of an argument, in Python."""
    plain = layout.literal_type(param.values) if param.type == "choice" else _PARAM_TYPES[param.type]
    return plain if param.required or (param.default not in (None, "None")) else f"{plain} | None"


def bounds(param: interface.Param) -> list[str]:
    """The constraints of an argument, as arguments of Field or Query."""
    found = []
    if param.type == "text":
        found += ["min_length=1", "max_length=200"]
    if param.least is not None:
        found.append(f"ge={param.least}")
    if param.most is not None and param.type == "integer":
        found.append(f"le={param.most}")
    return found


def _table(world: worlds.World, entity: str) -> str:
    spec = world.entities[entity]
    name = worlds.class_name(entity)
    lines = [
        f"class {name}(Base):",
        f'    __tablename__ = "{spec.plural}"',
        "    id: Mapped[int] = mapped_column(primary_key=True)",
    ]
    relations = []
    targets = [field.to for field in spec.fields.values() if field.type == "ref"]
    for key, field in spec.fields.items():
        empty = " | None" if field.optional else ""
        if field.type != "ref":
            lines.append(f"    {key}: Mapped[{_TYPES.get(field.type, 'str')}{empty}]")
            continue
        table = world.entities[str(field.to)].plural
        lines.append(f'    {key}_id: Mapped[int{empty}] = mapped_column(ForeignKey("{table}.id"))')
        keys = f", foreign_keys=[{key}_id]" if targets.count(field.to) > 1 else ""
        annotation = f"{worlds.class_name(str(field.to))}{empty}"
        if field.to == entity:  # the class is not there yet, and which end is meant has to be said
            annotation, keys = layout.quoted(annotation), f"{keys}, remote_side=[id]"
        relations.append(f'    {key}: Mapped[{annotation}] = relationship(lazy="joined"{keys})')
    if spec.states:
        lines.append(f"    {spec.states.field}: Mapped[str]")
    return "\n".join(lines + relations)


def _views(world: worlds.World, entity: str) -> list[str]:
    name = worlds.class_name(entity)
    lines = [f"class {name}View(BaseModel):"]
    for attribute in interface.view(world, entity):
        kind = {"integer": "int", "text": "str", "flag": "bool"}[attribute.type]
        empty = " | None" if attribute.optional else ""
        about = f" = Field(description={layout.quoted(attribute.about)})" if attribute.about else ""
        lines.append(f"    {attribute.name}: {kind}{empty}{about}")
    found = ["\n".join(lines)]
    if world.tool("list", entity):
        many = worlds.plural(world, entity)
        found.append(
            f"class {name}Page(BaseModel):\n"
            f'    total: int = Field(description="How many {many} match, over all pages")\n'
            f"    {world.style.items}: list[{name}View]"
        )
    if world.tool("bulk", entity) or any(t.kind == "bulk" and t.entity == entity for t in world.tools):
        found.append(f"class {name}List(BaseModel):\n    {world.style.items}: list[{name}View]")
    if world.tool("summary", entity):
        lines = [f"class {name}Group(BaseModel):", "    group: str", "    count: int"]
        lines += [f'    total_{field}: int = Field(description="In cents")' for field in interface.sums(world, entity)]
        found.append("\n".join(lines))
        found.append(f"class {name}Summary(BaseModel):\n    {world.style.items}: list[{name}Group]")
    return found


def _request(world: worlds.World, tool: worlds.Tool) -> str:
    params = body(world, tool)
    if not params:
        return ""
    lines = [f"class {request_name(tool)}(BaseModel):"]
    for param in params:
        if param.type == "ids":
            parts = ["min_length=1", f"max_length={param.most}", f"description={layout.quoted(param.about)}"]
            lines.append(layout.call(f"    {param.name}: list[Id] = Field(", parts))
            continue
        parts = [
            *(["None"] if param.default == "None" else []),
            *bounds(param),
            f"description={layout.quoted(param.about)}",
        ]
        lines.append(layout.call(f"    {param.name}: {annotation(param)} = Field(", parts))
    return "\n".join(lines)


def _view_function(world: worlds.World, entity: str) -> str:
    name = worlds.class_name(entity)
    spec = world.entities[entity]
    parts = []
    for attribute in interface.view(world, entity):
        value = f"row.{attribute.name}"
        if attribute.kind == "title":
            value = _title(world, spec.fields[attribute.field], attribute.field)
        elif attribute.kind == "shown":
            value = f"{attribute.field}_of(session, row)"
        parts.append(f"{attribute.name}={value}")
    session = "session: Session, " if spec.shows else ""
    fields = "".join(f"        {part},\n" for part in parts)
    return f"def {entity}_view({session}row: {name}) -> {name}View:\n    return {name}View(\n{fields}    )"


def _title(world: worlds.World, field: language.Field, name: str) -> str:
    title = f"row.{name}.{worlds.title_field(world.entities[str(field.to)])}"
    return f"{title} if row.{name} else None" if field.optional else title
