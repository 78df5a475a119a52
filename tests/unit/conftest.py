"""What unit tests share: this process, given back as it was."""

import sys
from collections.abc import Iterator

import anyio.to_thread
import pytest
import sqlalchemy
from sqlalchemy import engine as sa_engine
from sqlalchemy import event, orm

from awm_runtime.server import engines, inline


@pytest.fixture(autouse=True, scope="module")
def process_as_it_was() -> Iterator[None]:
    """Undoes `engines.install()` and `inline.install()`, which are for the life of an instance, after each module."""
    create, connection = sqlalchemy.create_engine, sa_engine.Engine._connection_cls
    run_sync = anyio.to_thread.run_sync
    yield
    anyio.to_thread.run_sync = run_sync
    ours = sqlalchemy.create_engine
    if ours is create:
        return
    for module in list(sys.modules.values()):
        if vars(module).get("create_engine") is ours:
            module.create_engine = create  # type: ignore[attr-defined]
    sa_engine.Engine._connection_cls = connection
    event.remove(orm.Session, "after_transaction_create", engines._note_session)
    engines._originals.clear()


@pytest.fixture(scope="module")
def as_an_instance(process_as_it_was: None) -> None:
    """Makes this process treat scenario code as an instance does."""
    engines.install()
    inline.install()
