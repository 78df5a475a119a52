"""What the tests of the runtime share."""

import sys
from collections.abc import Iterator

import pytest
import sqlalchemy
from sqlalchemy import engine as sa_engine
from sqlalchemy import event, orm

from awm_runtime.server import engines


@pytest.fixture(autouse=True, scope="module")
def sqlalchemy_as_it_was() -> Iterator[None]:
    """Undoes `engines.install()`, which is for the life of a process, after each module that calls it."""
    create, connection = sqlalchemy.create_engine, sa_engine.Engine._connection_cls
    yield
    ours = sqlalchemy.create_engine
    if ours is create:
        return
    for module in list(sys.modules.values()):
        if vars(module).get("create_engine") is ours:
            module.create_engine = create  # type: ignore[attr-defined]
    sa_engine.Engine._connection_cls = connection
    event.remove(orm.Session, "after_transaction_create", engines._note_session)
    engines._originals.clear()
