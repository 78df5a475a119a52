"""environment.py: the whole module, with only the imports and helpers that it uses."""

import ast
import re
import textwrap

from awm_generator.builtin.compiler import handlers_text, layout, tables_text, worlds

_HELPERS = {
    "now": 'def now() -> datetime:\n    return datetime.now(timezone.utc)',
    "today": "def today() -> date:\n    return now().date()",
    "stamp": '''def stamp() -> str:
    """This moment as the database holds times."""
    return now().strftime("%Y-%m-%dT%H:%M:%SZ")''',
    "as_utc": '''def as_utc(moment: datetime) -> str:
    """A given moment as the database holds times; one without a zone is UTC."""
    if moment.tzinfo is not None:
        try:
            moment = moment.astimezone(timezone.utc)
        except OverflowError:
            raise refuse(422, "This moment is out of range.") from None
    return moment.replace(tzinfo=None, microsecond=0).isoformat() + "Z"''',
    "parsed": '''def parsed(moment: str) -> datetime:
    """A time or a date of the database."""
    return datetime.fromisoformat(moment.removesuffix("Z")).replace(tzinfo=timezone.utc)''',
    "days_between": '''def days_between(first: str, second: str) -> int:
    return (date.fromisoformat(second[:10]) - date.fromisoformat(first[:10])).days''',
    "hours_until": '''def hours_until(moment: str) -> int:
    """Whole hours from now on; negative for what is past."""
    return int((parsed(moment) - now()).total_seconds() // 3600)''',
    "days_until": "def days_until(day: str) -> int:\n    return (date.fromisoformat(day[:10]) - today()).days",
    "days_later": '''def days_later(day: str, days: int) -> str:
    try:
        return (date.fromisoformat(day[:10]) + timedelta(days=days)).isoformat()
    except OverflowError:
        raise refuse(422, "This date is out of range.") from None''',
    "minutes_later": '''def minutes_later(moment: str, minutes: int) -> str:
    try:
        return (parsed(moment) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    except OverflowError:
        raise refuse(422, "This moment is out of range.") from None''',
    "day_of": "def day_of(moment: str) -> str:\n    return moment[:10]",
    "refuse": '''def refuse(status: int, reason: str) -> HTTPException:
    return HTTPException(status_code=status, detail=reason)''',
    "existing": '''def existing(session: Session, table: type[Base], key: int, what: str):
    """The row with this key, or a 404 that names what was looked for."""
    row = session.get(table, key)
    if row is None:
        raise refuse(404, f"There is no {what} with id {key}.")
    return row''',
    "count": '''def count(session: Session, table: type[Base], *conditions) -> int:
    """How many rows of a table meet the conditions."""
    return session.scalar(select(func.count()).select_from(table).where(*conditions)) or 0''',
    "total": '''def total(session: Session, column, *conditions) -> int:
    """The sum of a column over the rows that meet the conditions."""
    return session.scalar(select(func.sum(column)).where(*conditions)) or 0''',
    "matching": '''def matching(session: Session, query) -> int:
    """How many rows a query finds."""
    return session.scalar(select(func.count()).select_from(query.order_by(None).subquery())) or 0''',
    "save": '''def save(session: Session) -> None:
    """Commits; what the tables themselves do not allow is a conflict, not a failure."""
    try:
        session.commit()
    except IntegrityError:
        session.rollback()
        raise refuse(409, "This does not fit what is stored already.") from None''',
}  # fmt: skip

_IMPORTS = (
    ("datetime", ("date", "datetime", "timedelta", "timezone")),
    ("typing", ("Annotated", "Literal")),
    ("fastapi", ("Depends", "FastAPI", "HTTPException", "Path", "Query")),
    ("pydantic", ("BaseModel", "Field")),
    ("sqlalchemy", ("ForeignKey", "asc", "create_engine", "desc", "event", "func", "or_", "select")),
    ("sqlalchemy.exc", ("IntegrityError",)),
    ("sqlalchemy.orm", ("DeclarativeBase", "Mapped", "Session", "mapped_column", "relationship", "sessionmaker")),
)

_MAIN = """if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, host=os.environ.get("HOST", "127.0.0.1"), port=int(os.environ.get("PORT", "8000")))"""


def source(world: worlds.World) -> str:
    """The text of environment.py."""
    parts = [_tables(world), _shapes(world), _shared(world), _tools(world)]
    body = "\n\n\n".join(parts)
    helpers = _needed(body)
    body = body.replace("# HELPERS", "\n\n\n".join(_HELPERS[name] for name in _HELPERS if name in helpers))
    head = _docstring(world)
    setup = _setup(world)
    whole = "\n\n".join([head, _imports(f"{setup}\n{body}"), setup]) + f"\n\n\n{body}\n\n\n{_MAIN}\n"
    return layout.tidy(whole)


def _docstring(world: worlds.World) -> str:
    about = textwrap.fill(world.about, layout.WIDTH)
    return f'"""{world.title}.\n\n{about}\n"""'


def _setup(world: worlds.World) -> str:
    return f'''SIGNED_IN_{world.user.upper()}_ID = 1

engine = create_engine(os.environ.get("DATABASE_PATH", "sqlite:///{world.name}.db"))
new_session = sessionmaker(bind=engine, autoflush=False, expire_on_commit=False)


@event.listens_for(engine, "connect")
def enforce_foreign_keys(connection, _record):
    """SQLite checks foreign keys only where it is asked to, connection by connection."""
    connection.execute("PRAGMA foreign_keys = ON")'''


def _tables(world: worlds.World) -> str:
    base = '''class Base(DeclarativeBase):
    """The tables of schema.sql. Dates and times are ISO text, so that they compare as they read."""'''
    return f"{base}\n\n\n{tables_text.tables(world)}"


def _shapes(world: worlds.World) -> str:
    alias = "# What the tools give and take.\n\nId = Annotated[int, Field(ge=1, le=2_147_483_647)]"
    requests = tables_text.requests(world)
    return "\n\n\n".join(part for part in (alias, tables_text.views(world), requests) if part)


def _shared(world: worlds.World) -> str:
    user = worlds.class_name(world.user)
    session = '''# Shared steps of the tools.


def open_session() -> Iterator[Session]:
    """A session for one request, closed at its end."""
    with new_session() as session:
        yield session


Database = Annotated[Session, Depends(open_session)]'''
    signed_in = (
        f"def signed_in(session: Session) -> {user}:\n"
        f'    return existing(session, {user}, SIGNED_IN_{world.user.upper()}_ID, "{worlds.label(world, world.user)}")'
    )
    owners = [handlers_text.owner_check(world, entity) for entity in world.entities if world.owner_path(entity)]
    shown = [
        handlers_text.shown(world, entity, name) for entity in world.entities for name in world.entities[entity].shows
    ]
    actions = [handlers_text.shared_action(world, tool) for tool in world.tools if tool.kind == "bulk"]
    return "\n\n\n".join(
        [session, "# HELPERS", signed_in, *owners, *shown, tables_text.view_functions(world), *actions]
    )


def _tools(world: worlds.World) -> str:
    start = f'# Tools.\n\napp = FastAPI(title={layout.quoted(world.title)}, version="1.0.0")'
    return "\n\n\n".join([start, *(handlers_text.handler(world, tool) for tool in world.tools)])


def _needed(body: str) -> set[str]:
    """The helpers that the code calls, and those that these call."""
    found: set[str] = set()
    texts = [body]
    while texts:
        text = texts.pop()
        for name in _HELPERS.keys() - found:
            if re.search(rf"(?<![\w.]){name}\(", text):
                found.add(name)
                texts.append(_HELPERS[name])
    return found


def _imports(code: str) -> str:
    named = {node.id for node in ast.walk(ast.parse(code.replace(layout.BREAK, " "))) if isinstance(node, ast.Name)}
    lines = ["import os", "from collections.abc import Iterator"]
    for module, names in _IMPORTS:
        used = [name for name in names if name in named]
        if module == "fastapi":
            lines.append("")
        if used:
            lines.append(layout.call(f"from {module} import ", used, ""))
    return "\n".join(lines)
