"""The frozen clock in Python: what scenario code gets for the modules `datetime` and `time`.

`datetime` and `date` are classes that stand for the real ones wherever a class is asked for (a call, an annotation,
`isinstance`) but never have instances: all that they make is plain, so that sqlite3, SQLAlchemy, pydantic and orjson
see nothing new. `datetime.time`, `timedelta` and `timezone` read no clock and stay real.
"""

import datetime
import time
from typing import Any, ClassVar

from awm_runtime.determinism import context

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)


class _StandsFor(type):
    """The class of a class that is taken for another one, which its own attribute `_real` names.

    A subclass that scenario code derives has no `_real` of its own, and is an ordinary class.
    """

    def __instancecheck__(cls, instance: object) -> bool:
        real = vars(cls).get("_real")
        return super().__instancecheck__(instance) if real is None else isinstance(instance, real)

    def __subclasscheck__(cls, subclass: type) -> bool:
        real = vars(cls).get("_real")
        return super().__subclasscheck__(subclass) if real is None else issubclass(subclass, real)

    def __eq__(cls, other: object) -> bool:
        """Equal to the real class: `type(value) == datetime`, and SQLAlchemy's table of types by class."""
        return other is cls or (other is not None and other is vars(cls).get("_real"))

    def __hash__(cls) -> int:
        return hash(vars(cls)["_real"]) if "_real" in vars(cls) else super().__hash__()


class FrozenDatetime(datetime.datetime, metaclass=_StandsFor):
    """Stands for `datetime.datetime`; the present is the running call's."""

    _real: ClassVar[type[datetime.datetime]] = datetime.datetime

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """A plain `datetime`; the inherited constructors (`strptime`, `combine`, ...) come through here too."""
        plain = datetime.datetime if cls is FrozenDatetime else cls
        return super().__new__(plain, *args, **kwargs)

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        """The running call's moment, in `tz`, or in UTC and naive."""
        moment = context.current().now()
        return _as(cls, moment.replace(tzinfo=None) if tz is None else moment.astimezone(tz))

    @classmethod
    def today(cls) -> Any:
        """As `now()`."""
        return cls.now()

    @classmethod
    def utcnow(cls) -> Any:
        """As `now()`; without the warning of Python 3.12, which is for those who can change the code."""
        return cls.now()

    @classmethod
    def combine(cls, *args: Any, **kwargs: Any) -> Any:
        """As the real one, and with the time's fold, which it forgets for a subclass before Python 3.13."""
        moment = datetime.datetime.combine(*args, **kwargs)
        return super().combine(*args, **kwargs).replace(fold=moment.fold)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type, handler: Any) -> Any:
        """Pydantic takes the class for the real one."""
        return handler(datetime.datetime)


class FrozenDate(datetime.date, metaclass=_StandsFor):
    """Stands for `datetime.date`; today is the running call's."""

    _real: ClassVar[type[datetime.date]] = datetime.date

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """A plain `date`; the inherited constructors come through here too."""
        plain = datetime.date if cls is FrozenDate else cls
        return super().__new__(plain, *args, **kwargs)

    @classmethod
    def today(cls) -> Any:
        """The running call's day, in UTC."""
        moment = context.current().now()
        return cls(moment.year, moment.month, moment.day)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type, handler: Any) -> Any:
        """Pydantic takes the class for the real one."""
        return handler(datetime.date)


def _as(cls: type[datetime.datetime], moment: datetime.datetime) -> datetime.datetime:
    """`moment` as an instance of `cls`, which may be scenario code's own subclass."""
    if cls is FrozenDatetime:
        return moment
    return cls.combine(moment.date(), moment.timetz())


for _class in (FrozenDatetime, FrozenDate):
    # Error messages and generated documentation name the class as scenario code does.
    _class.__module__, _class.__qualname__, _class.__name__ = "datetime", *[vars(_class)["_real"].__name__] * 2

DATETIME = {"datetime": FrozenDatetime, "date": FrozenDate}
"""What is replaced in the module `datetime`."""


def _nanoseconds() -> int:
    return (context.current().now() - _EPOCH) // _MICROSECOND * 1000


def _seconds() -> float:
    return context.current().now().timestamp()


def _gettime(_clock: int) -> float:
    return _seconds()


def _gettime_ns(_clock: int) -> int:
    return _nanoseconds()


def _gmtime(seconds: float | None = None) -> time.struct_time:
    return time.gmtime(_seconds() if seconds is None else seconds)


def _localtime(seconds: float | None = None) -> time.struct_time:
    return time.localtime(_seconds() if seconds is None else seconds)


def _ctime(seconds: float | None = None) -> str:
    return time.ctime(_seconds() if seconds is None else seconds)


def _asctime(*moment: Any) -> str:
    return time.asctime(*(moment or (_localtime(),)))


def _strftime(pattern: str, *moment: Any) -> str:
    return time.strftime(pattern, *(moment or (_localtime(),)))


TIME = {
    **dict.fromkeys(("time", "monotonic", "perf_counter", "process_time", "thread_time"), _seconds),
    **dict.fromkeys(("time_ns", "monotonic_ns", "perf_counter_ns", "process_time_ns", "thread_time_ns"), _nanoseconds),
    "clock_gettime": _gettime,
    "clock_gettime_ns": _gettime_ns,
    "gmtime": _gmtime,
    "localtime": _localtime,
    "ctime": _ctime,
    "asctime": _asctime,
    "strftime": _strftime,
}
"""What is replaced in the module `time`: all that read a clock. Sleeping stays real."""
