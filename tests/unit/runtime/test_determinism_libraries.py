"""The frozen classes and functions as annotations and defaults for SQLAlchemy, pydantic and FastAPI."""

import builtins
import datetime
import sys
import textwrap
import types
from collections.abc import Iterator
from typing import Any

import fastapi
import pydantic
import pytest
import sqlalchemy
from sqlalchemy import orm
from starlette import testclient

from awm_runtime.determinism import context, modules, sql

CLOCK = datetime.datetime(2026, 1, 15, 9, tzinfo=datetime.UTC)
NAIVE = CLOCK.replace(tzinfo=None)
SECOND = datetime.timedelta(seconds=1)


def call(number: int = 0) -> context.CallContext:
    return context.CallContext(CLOCK, seed=1, number=number)


def scenario(source: str) -> dict[str, Any]:
    """The namespace of a module `scenario` that runs `source`; where libraries look names of annotations up."""
    module = types.ModuleType("scenario")
    vars(module)["__builtins__"] = vars(builtins) | {"__import__": modules.scenario_import}
    sys.modules["scenario"] = module
    exec(compile(textwrap.dedent(source), "environment.py", "exec"), vars(module))
    return vars(module)


@pytest.fixture(autouse=True)
def running_call() -> Iterator[context.CallContext]:
    with context.entered(call()) as running:
        yield running
    sys.modules.pop("scenario", None)


@pytest.fixture
def engine() -> Iterator[sqlalchemy.Engine]:
    engine = sqlalchemy.create_engine("sqlite://")
    sqlalchemy.event.listen(engine, "connect", lambda connection, _record: sql.install(connection))
    yield engine
    engine.dispose()


MODELS = """
    import datetime as dt, time, uuid, random
    from datetime import date, datetime, timedelta
    from typing import Optional
    from sqlalchemy import Column, Date, DateTime, Integer, String, Float, func, text
    from sqlalchemy.orm import DeclarativeBase, Mapped, declarative_base, mapped_column

    class Base(DeclarativeBase):
        pass

    class Order(Base):
        __tablename__ = "orders"
        id: Mapped[int] = mapped_column(primary_key=True)
        created: Mapped[datetime] = mapped_column(default=datetime.utcnow)
        changed: Mapped[dt.datetime] = mapped_column(default=datetime.now, onupdate=datetime.now)
        due: Mapped[datetime] = mapped_column(default=lambda: datetime.now() + timedelta(days=3))
        day: Mapped[date] = mapped_column(default=date.today)
        shipped: Mapped[Optional[datetime]]
        closed: Mapped[datetime | None]
        stamped: Mapped[datetime] = mapped_column(server_default=func.now())
        keyed: Mapped[datetime] = mapped_column(server_default=text("CURRENT_TIMESTAMP"))
        ticks: Mapped[float] = mapped_column(default=time.time)
        key: Mapped[str] = mapped_column(default=lambda: str(uuid.uuid4()))
        ident: Mapped[uuid.UUID] = mapped_column(default=uuid.uuid4)
        lot: Mapped[float] = mapped_column(default=random.random)

    Old = declarative_base()

    class Item(Old):
        __tablename__ = "items"
        id = Column(Integer, primary_key=True)
        created = Column(DateTime, default=datetime.utcnow)
        changed = Column(DateTime, default=dt.datetime.now, onupdate=dt.datetime.utcnow)
        day = Column(Date, default=dt.date.today)
        stamped = Column(DateTime, server_default=func.now())
"""


def test_column_defaults_read_the_clock_of_the_call_that_inserts(engine: sqlalchemy.Engine) -> None:
    order = scenario(MODELS)["Order"]
    order.metadata.create_all(engine)
    with context.entered(call(number=7)), orm.Session(engine) as session:
        session.add(order(id=1, shipped=NAIVE))
        session.commit()
        stored = session.get(order, 1)
        assert stored.shipped == NAIVE
        assert stored.closed is None
        assert stored.day == NAIVE.date()
        moments = [
            stored.created,
            stored.changed,
            stored.due - datetime.timedelta(days=3),
            stored.stamped,
            stored.keyed,
        ]
        assert [moment.replace(microsecond=0) for moment in moments] == [NAIVE + 7 * SECOND] * 5
        assert int(stored.ticks) == (CLOCK + 7 * SECOND).timestamp()


def test_random_defaults_differ_by_call_and_repeat_in_the_same_one(engine: sqlalchemy.Engine) -> None:
    order = scenario(MODELS)["Order"]
    order.metadata.create_all(engine)
    made = []
    for id_, number in enumerate((1, 2, 1), start=1):
        with context.entered(call(number)), orm.Session(engine) as session:
            session.add(order(id=id_))
            session.commit()
            stored = session.get(order, id_)
            made.append((stored.key, stored.ident, stored.lot))
    assert made[0] == made[2]
    assert all(mine != theirs for mine, theirs in zip(made[0], made[1], strict=True))


def test_annotations_resolve_to_the_column_types_of_the_real_classes() -> None:
    columns = scenario(MODELS)["Order"].__table__.columns
    kinds = {name: type(columns[name].type) for name in ("created", "changed", "shipped", "closed", "day", "ident")}
    assert kinds == {
        **dict.fromkeys(("created", "changed", "shipped", "closed"), sqlalchemy.DateTime),
        "day": sqlalchemy.Date,
        "ident": sqlalchemy.Uuid,
    }
    assert columns["closed"].nullable


def test_columns_of_the_older_style_read_the_clock_of_the_call(engine: sqlalchemy.Engine) -> None:
    item = scenario(MODELS)["Item"]
    item.metadata.create_all(engine)
    with orm.Session(engine) as session:
        with context.entered(call(number=1)):
            session.add(item(id=1))
            session.commit()
            first = session.get(item, 1)
            assert first.created.replace(microsecond=0) == first.stamped == NAIVE + SECOND
            assert first.day == NAIVE.date()
        with context.entered(call(number=9)):
            first.day = datetime.date(2026, 2, 1)
            session.commit()
            assert first.changed.replace(microsecond=0) == NAIVE + 9 * SECOND


def test_sql_functions_and_comparisons_take_the_frozen_moments(engine: sqlalchemy.Engine) -> None:
    namespace = scenario(MODELS)
    item, frozen = namespace["Item"], namespace["datetime"]
    item.metadata.create_all(engine)
    with context.entered(call(number=1)), orm.Session(engine) as session:
        session.add_all([item(id=1, created=NAIVE - SECOND), item(id=2, created=frozen(2027, 1, 1))])
        session.flush()
        due = sqlalchemy.select(item.id).where(item.created <= frozen.now()).order_by(item.id)
        assert session.scalars(due).all() == [1]
        now = session.scalar(sqlalchemy.select(sqlalchemy.func.now()))
        assert now == NAIVE + SECOND
        shown = session.scalar(sqlalchemy.select(sqlalchemy.func.strftime("%Y-%m-%d", "now", "+1 day")))
        assert shown == "2026-01-16"


PYDANTIC = """
    import time, uuid
    from datetime import date, datetime, time as clock_time, timedelta
    from typing import Annotated, List, Optional
    from pydantic import BaseModel, Field

    class Visit(BaseModel):
        at: datetime = Field(default_factory=datetime.now)
        utc: datetime = Field(default_factory=datetime.utcnow)
        day: date = Field(default_factory=date.today)
        opens: clock_time = clock_time(9)
        seen: Optional[datetime] = None
        days: List[date] = []
        until: datetime | None = None
        after: Annotated[datetime, Field(gt=datetime(2020, 1, 1))] = datetime(2021, 1, 1)
        key: uuid.UUID = Field(default_factory=uuid.uuid4)
        stamp: float = Field(default_factory=time.time)
"""


def test_pydantic_defaults_read_the_clock_of_the_call() -> None:
    visit = scenario(PYDANTIC)["Visit"]
    with context.entered(call(number=3)):
        made = visit()
    assert made.at.replace(microsecond=0) == made.utc.replace(microsecond=0) == NAIVE + 3 * SECOND
    assert made.day == NAIVE.date()
    assert int(made.stamp) == (CLOCK + 3 * SECOND).timestamp()
    with context.entered(call(number=3)):
        assert visit().key == made.key
    with context.entered(call(number=4)):
        assert visit().key != made.key


def test_pydantic_reads_checks_and_writes_moments_as_usual() -> None:
    visit = scenario(PYDANTIC)["Visit"]
    made = visit.model_validate(
        {
            "at": "2026-02-03T04:05:06",
            "seen": NAIVE,
            "day": "2026-02-03",
            "days": ["2026-02-03"],
            "until": "2026-02-03T00:00:00Z",
        }
    )
    assert type(made.at) is datetime.datetime
    assert made.days == [made.day] == [datetime.date(2026, 2, 3)]
    written = made.model_dump(mode="json", include={"at", "seen", "day", "until"})
    assert written == {
        "at": "2026-02-03T04:05:06",
        "seen": "2026-01-15T09:00:00",
        "day": "2026-02-03",
        "until": "2026-02-03T00:00:00Z",
    }
    for wrong in ({"at": "soon"}, {"day": "2026-02-30"}, {"after": "2019-01-01T00:00:00"}):
        with pytest.raises(pydantic.ValidationError):
            visit.model_validate(wrong)


def test_pydantics_schema_names_the_formats() -> None:
    properties = scenario(PYDANTIC)["Visit"].model_json_schema()["properties"]
    assert {name: properties[name]["format"] for name in ("at", "utc", "day", "opens")} == {
        "at": "date-time",
        "utc": "date-time",
        "day": "date",
        "opens": "time",
    }
    assert properties["seen"]["anyOf"][0] == {"type": "string", "format": "date-time"}
    assert properties["days"]["items"] == {"type": "string", "format": "date"}


def test_a_generic_model_and_a_type_adapter_take_the_classes() -> None:
    namespace = scenario("""
        from datetime import date, datetime
        from typing import Generic, TypeVar
        from pydantic import BaseModel, TypeAdapter
        T = TypeVar("T")
        class Box(BaseModel, Generic[T]):
            content: T
        made = [
            Box[datetime](content="2026-01-15T09:00:00").content,
            TypeAdapter(dict[str, date]).validate_python({"a": "2026-01-15"}),
        ]
    """)
    assert namespace["made"] == [NAIVE, {"a": NAIVE.date()}]


API = """
    from __future__ import annotations
    from datetime import date, datetime
    from typing import Optional
    from uuid import UUID, uuid4
    from fastapi import FastAPI, Query
    from pydantic import BaseModel

    app = FastAPI()

    class Booking(BaseModel):
        at: datetime
        day: Optional[date] = None

    @app.get("/events/{day}")
    def events(day: date, since: datetime, until: Optional[datetime] = None, days: list[date] = Query([])) -> dict:
        now = datetime.utcnow()
        return {"day": day, "since": since, "until": until, "days": days, "now": now, "past": since < datetime.now()}

    @app.post("/bookings", response_model=Booking)
    def book(booking: Booking, note: str = ""):
        return booking
"""


@pytest.mark.parametrize("postponed", [True, False])
def test_fastapi_takes_the_classes_as_parameters_bodies_and_replies(postponed: bool) -> None:
    source = API if postponed else API.replace("from __future__ import annotations", "")
    app: fastapi.FastAPI = scenario(source)["app"]
    with testclient.TestClient(app) as client:
        reply = client.get("/events/2026-01-15?since=2026-01-14T00:00:00&days=2026-01-01&days=2026-01-02")
        refused = client.get("/events/today?since=2026-01-14T00:00:00")
        booked = client.post("/bookings", json={"at": "2026-01-15T10:00:00", "day": "2026-01-15"})
    assert reply.json() == {
        "day": "2026-01-15",
        "since": "2026-01-14T00:00:00",
        "until": None,
        "days": ["2026-01-01", "2026-01-02"],
        "now": "2026-01-15T09:00:00",
        "past": True,
    }
    assert refused.status_code == 422
    assert booked.json() == {"at": "2026-01-15T10:00:00", "day": "2026-01-15"}


def test_the_openapi_document_is_that_of_the_real_classes() -> None:
    frozen = scenario(API)["app"].openapi()
    real = types.ModuleType("real")
    sys.modules["real"] = real
    try:
        exec(compile(textwrap.dedent(API), "environment.py", "exec"), vars(real))
        assert frozen == real.app.openapi()
    finally:
        del sys.modules["real"]
    formats = [each["schema"].get("format") for each in frozen["paths"]["/events/{day}"]["get"]["parameters"]]
    assert formats[:2] == ["date", "date-time"]
