"""The frozen clock and the seeded randomness in SQL.

SQLite resolves `date()`, `CURRENT_TIMESTAMP`, `random()` and the like by name on the connection, also inside column
defaults, so functions of the same names take their place. A call that asks for the present gets the moment of the
running call (`context.current()`); everything else a date function can do is left to the real one, on a private
connection, so that modifiers, odd arguments and the differences between SQLite's versions stay exactly as they are.

The date functions are registered as deterministic, because indexes, generated columns and CHECKs take no others. SQLite
then evaluates a call with constant arguments once per run of a statement: all rows of
`UPDATE t SET at = datetime('now')` get the same moment, as they do from the real functions.
"""

import functools
import sqlite3
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from awm_runtime.determinism import context

Value = str | bytes | int | float | None

_SINCE = {"unixepoch": (3, 38), "timediff": (3, 43)}
_SUBSECOND_TIME_VALUE_SINCE = (3, 42)
_LONGEST_BLOB = 1_000_000_000
_ZONES = frozenset({"localtime", "utc"})


class Connection(Protocol):
    """What functions can be registered on, as on the `sqlite3` module's connections."""

    def create_function(
        self, name: str, narg: int, func: Callable[..., Value], /, *, deterministic: bool = False
    ) -> None: ...


@dataclass(frozen=True)
class Library:
    """The SQLite that a connection belongs to.

    Attributes:
        version: Its version.
        evaluate: Runs a query of one value on a connection that has the real functions.
    """

    version: tuple[int, ...]
    evaluate: Callable[[str, tuple[Value, ...]], Value]

    def call(self, name: str, *arguments: Value) -> Value:
        """What a real function answers."""
        return self.evaluate(_call(name, len(arguments)), arguments)


def install(connection: Connection, library: Library | None = None) -> None:
    """Replaces the date, time and random functions of `connection`; each call reads `context.current()`.

    Args:
        connection: The connection.
        library: The SQLite that it belongs to; by default that of the `sqlite3` module.

    `random()` and `randomblob()` are not registered as deterministic: `ORDER BY random()` would be one constant for all
    rows. The real ones can't be used in an index or a CHECK either.
    """
    library = library or _MODULE
    for name, render in _RENDERINGS.items():
        connection.create_function(name, -1, functools.partial(_rendered, library, name, render), deterministic=True)
    for name, render in _KEYWORDS.items():
        connection.create_function(name, 0, functools.partial(_present, render), deterministic=True)
    for name, function, arguments in (
        ("julianday", functools.partial(_delegated, library, "julianday"), -1),
        ("unixepoch", functools.partial(_delegated, library, "unixepoch"), -1),
        ("strftime", functools.partial(_strftime, library), -1),
        ("timediff", functools.partial(_timediff, library), 2),
    ):
        if library.version >= _SINCE.get(name, ()):
            connection.create_function(name, arguments, function, deterministic=True)
    connection.create_function("random", 0, _random)
    connection.create_function("randomblob", 1, functools.partial(_randomblob, library))


def _datetime_text(moment: datetime) -> str:
    return moment.isoformat(" ", "seconds")[:19]


def _date_text(moment: datetime) -> str:
    return moment.isoformat(" ", "seconds")[:10]


def _time_text(moment: datetime) -> str:
    return moment.isoformat(" ", "seconds")[11:19]


_RENDERINGS = {"datetime": _datetime_text, "date": _date_text, "time": _time_text}
_KEYWORDS = {"current_timestamp": _datetime_text, "current_date": _date_text, "current_time": _time_text}


def _present(render: Callable[[datetime], str]) -> str:
    return render(context.current().now())


def _rendered(library: Library, name: str, render: Callable[[datetime], str], *arguments: Value) -> Value:
    """One of `datetime()`, `date()` and `time()`; the common calls without a modifier are answered here."""
    if not arguments or arguments == ("now",):
        return _present(render)
    return _delegated(library, name, *arguments)


def _delegated(library: Library, name: str, *arguments: Value) -> Value:
    return library.call(name, *_frozen(library, arguments))


def _strftime(library: Library, *arguments: Value) -> Value:
    if not arguments:
        return None
    return library.call("strftime", arguments[0], *_frozen(library, arguments[1:]))


def _timediff(library: Library, left: Value, right: Value) -> Value:
    return library.call("timediff", *_frozen(library, (left,))[:1], *_frozen(library, (right,))[:1])


def _frozen(library: Library, arguments: tuple[Value, ...]) -> list[Value]:
    """A time value and its modifiers with the present spelled out, and with UTC as the local time."""
    time_value, modifiers = (arguments[0], list(arguments[1:])) if arguments else ("now", [])
    word = _word(time_value)
    if word == "now":
        time_value = _moment_text()
    elif word in ("subsec", "subsecond") and library.version >= _SUBSECOND_TIME_VALUE_SINCE:
        time_value = _moment_text()
        modifiers.insert(0, word)
    return [time_value, *("+0 seconds" if _word(modifier) in _ZONES else modifier for modifier in modifiers)]


def _moment_text() -> str:
    """The present with milliseconds, which is all that SQLite's clock has."""
    return context.current().now().isoformat(" ", "milliseconds")[:23]


def _word(value: Value) -> str | None:
    """`value` as SQLite compares key words: blobs count as text, which ends at a zero, and case does not matter."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return value.partition("\0")[0].lower() if isinstance(value, str) else None


def _random() -> int:
    """A 64-bit integer whose `abs()` never overflows, as the real function promises."""
    bits = context.current().entropy.getrandbits(64)
    return -(bits >> 1) if bits & 1 else bits >> 1


def _randomblob(library: Library, length: Value) -> bytes:
    count = length if isinstance(length, int) else library.evaluate("SELECT CAST(? AS INTEGER)", (length,))
    if not isinstance(count, int):
        count = 1
    if count > _LONGEST_BLOB:
        raise OverflowError("the sqlite3 module turns this into SQLite's own error, too big")
    return context.current().entropy.randbytes(max(count, 1))


class _Plain(threading.local):
    """A connection per thread that has the real functions.

    One for all threads would need a lock: the sqlite3 module may bind a cached statement again that another thread is
    about to run.
    """

    def __init__(self) -> None:
        self.holder = _Holder()


class _Holder:
    """Closes its connection when the thread ends; Python 3.13 warns of those that were not."""

    def __init__(self) -> None:
        # The end of a thread may be noticed in another one.
        self.connection = sqlite3.connect(":memory:", check_same_thread=False)
        weakref.finalize(self, self.connection.close)


_plain = _Plain()


@functools.cache
def _call(name: str, count: int) -> str:
    return f"SELECT {name}({', '.join('?' * count)})"


def _evaluated(query: str, arguments: tuple[Value, ...]) -> Value:
    value: Value = _plain.holder.connection.execute(query, arguments).fetchone()[0]
    return value


_MODULE = Library(sqlite3.sqlite_version_info, _evaluated)
