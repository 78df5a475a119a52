"""The clock of leases: a time of day, because leases outlive their process, that no setting of the clock moves."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


def _time_of_day() -> datetime:
    return datetime.now(UTC)


class LeaseClock:
    """The time of day at which it was made, moved on by the monotonic clock; a call tells the time.

    Args:
        wall: Tells the time of day, aware; asked once.
        monotonic: Tells seconds that only go forward.
    """

    def __init__(
        self, wall: Callable[[], datetime] = _time_of_day, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic = monotonic
        self._zero = wall() - timedelta(seconds=monotonic())

    def __call__(self) -> datetime:
        return self._zero + timedelta(seconds=self._monotonic())
