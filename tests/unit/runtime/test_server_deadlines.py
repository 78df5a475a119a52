"""The timer of call deadlines and the life of the process that it is in."""

import subprocess
import sys

ENDS_SOON_AFTER_A_CALL = """
import asyncio, time
from datetime import UTC, datetime
from awm_runtime.determinism import context
from awm_runtime.server import deadlines

class SlowToGo:
    def __del__(self, sleep=time.sleep, longer_than_a_tick=2 * deadlines.TICK_S):
        sleep(longer_than_a_tick)

async def call():
    with watcher.watching(context.CallContext(clock=datetime(2026, 1, 15, tzinfo=UTC), seed=0, number=1)):
        pass

watcher = deadlines.Deadlines()
asyncio.run(call())
kept = SlowToGo()
"""


def test_a_process_that_ends_right_after_a_call_is_not_killed_by_its_timer() -> None:
    assert subprocess.run([sys.executable, "-c", ENDS_SOON_AFTER_A_CALL], timeout=60).returncode == 0
