"""Leases while somebody sets the machine's clock."""

from datetime import UTC, datetime, timedelta

import pytest

from awm_runtime.server import leases

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Machine:
    """A machine whose clock can be set, and whose monotonic clock only goes forward."""

    def __init__(self) -> None:
        self.wall = NOON
        self.running_s = 500.0

    def wait(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.running_s += seconds


@pytest.mark.parametrize("jump", [timedelta(days=-2), timedelta(hours=5)])
def test_a_clock_that_jumps_neither_ends_nor_extends_a_lease(jump: timedelta) -> None:
    machine = Machine()
    clock = leases.LeaseClock(lambda: machine.wall, lambda: machine.running_s)
    machine.wait(30)
    machine.wall += jump
    machine.wait(60)
    assert clock() == NOON + timedelta(seconds=90)


def test_the_next_process_takes_the_time_of_day_as_it_then_is() -> None:
    machine = Machine()
    machine.wall += timedelta(hours=5)
    assert leases.LeaseClock(lambda: machine.wall, lambda: machine.running_s)() == NOON + timedelta(hours=5)
