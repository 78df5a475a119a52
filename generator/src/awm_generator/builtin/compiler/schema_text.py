"""schema.sql and seed.sql of a world."""

from typing import Any

from awm_generator.builtin import language
from awm_generator.builtin.compiler import simulation, worlds

_SQL_TYPES = {"integer": "INTEGER", "money": "INTEGER", "flag": "INTEGER", "ref": "INTEGER"}


def schema(world: worlds.World) -> str:
    """The tables with their constraints, then the indexes."""
    tables = [_table(world, entity) for entity in world.entities]
    indexes = [index for entity in world.entities for index in _indexes(world, entity)]
    return "\n\n".join([*tables, *indexes]) + "\n"


def seed(state: simulation.State) -> str:
    """The rows as one insert per table."""
    inserts = []
    for entity, spec in state.world.entities.items():
        rows = list(state.tables[entity].values())
        if rows:
            columns = columns_of(spec)
            lines = ",\n".join(f"    ({', '.join(literal(row.get(column)) for column in columns)})" for row in rows)
            inserts.append(f"INSERT INTO {spec.plural} ({', '.join(columns)}) VALUES\n{lines};")
    return "\n\n".join(inserts) + "\n"


def columns_of(spec: language.Entity) -> list[str]:
    """The columns of an entity's table, in order."""
    columns = ["id", *(worlds.column(name, field) for name, field in spec.fields.items())]
    return [*columns, spec.states.field] if spec.states else columns


def literal(value: Any) -> str:
    """A value as SQL."""
    if value is None:
        return "NULL"
    if isinstance(value, bool | int):
        return str(int(value))
    escaped = str(value).replace("'", "''")
    return f"'{escaped}'"


def _table(world: worlds.World, entity: str) -> str:
    spec = world.entities[entity]
    lines = ["id INTEGER PRIMARY KEY"]
    for name, field in spec.fields.items():
        lines.append(_column(world, name, field))
    if spec.states:
        lines.append(f"{spec.states.field} TEXT NOT NULL{_one_of(spec.states.field, worlds.state_values(spec))}")
    for names in spec.unique:
        lines.append(f"UNIQUE ({', '.join(worlds.column(name, spec.fields[name]) for name in names)})")
    body = ",\n".join(f"    {line}" for line in lines)
    return f"CREATE TABLE {spec.plural} (\n{body}\n);"


def _column(world: worlds.World, name: str, field: language.Field) -> str:
    column = worlds.column(name, field)
    text = f"{column} {_SQL_TYPES.get(field.type, 'TEXT')}{'' if field.optional else ' NOT NULL'}"
    if field.unique:
        text += " UNIQUE"
    if field.type == "ref":
        text += f" REFERENCES {world.entities[str(field.to)].plural} (id)"
    if field.type == "choice":
        text += _one_of(column, tuple(field.values))
    if field.type == "flag":
        text += f" CHECK ({column} IN (0, 1))"
    if field.least is not None:
        text += f" CHECK ({column} >= {field.least})"
    return text


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f" CHECK ({column} IN ({', '.join(literal(value) for value in values)}))"


def _indexes(world: worlds.World, entity: str) -> list[str]:
    spec = world.entities[entity]
    found = []
    for name, field in spec.fields.items():
        if field.type == "ref":
            state = f", {spec.states.field}" if spec.states and field.filter else ""
            found.append(f"CREATE INDEX {spec.plural}_by_{name} ON {spec.plural} ({name}_id{state});")
    return found
