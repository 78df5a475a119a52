"""Code as a scenario's module has it: under a frozen clock, with an episode's randomness."""

import builtins
import datetime
import textwrap
from typing import Any

from awm_runtime.determinism import context, modules

CLOCK = datetime.datetime(2026, 1, 15, 9, tzinfo=datetime.UTC)


def call(number: int = 0, seed: int = 1) -> context.CallContext:
    """A call of an episode; number 0 is before the first one."""
    return context.CallContext(CLOCK, seed=seed, number=number)


def module(source: str) -> dict[str, Any]:
    """The namespace that `source` leaves as a scenario's module."""
    namespace: dict[str, Any] = {
        "__name__": "scenario",
        "__builtins__": vars(builtins) | {"__import__": modules.scenario_import},
    }
    exec(compile(textwrap.dedent(source), "environment.py", "exec"), namespace)
    return namespace
