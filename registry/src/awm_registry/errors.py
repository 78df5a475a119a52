"""Errors of the registry. The class is the caller's decision.

```text
AwmError
├── TransientError(retry_after_s)   try again
│   ├── CapacityError               a fleet is full, or a scenario is still starting
│   └── Unreachable                 no answer came, or a server is in trouble
└── PermanentError                  do not
    ├── UnknownScenario             a fleet has none of that name
    ├── CatalogueError              a catalogue cannot be read
    └── TokenError                  a key or a token makes no sense
```
"""

from awm_runtime import errors
from awm_runtime.contract import problems

PRESSURE = frozenset({problems.Code.AT_CAPACITY, problems.Code.STARTING})
"""The codes of what a fleet may have room for later."""


class CapacityError(errors.TransientError):
    """A fleet has no room now, or a scenario is still starting; the message says which."""


class Unreachable(errors.TransientError):
    """The server does not answer; the message says which, and why."""


class UnknownScenario(errors.PermanentError):
    """A fleet has no scenario of that name; the message has names that are close."""


def of_problem(problem: problems.ProblemError) -> errors.AwmError:
    """The error by which a caller of a fleet decides; the problem itself where it says all."""
    if problem.code in PRESSURE:
        return CapacityError(problem.detail, retry_after_s=problem.retry_after_s or 1.0)
    return UnknownScenario(problem.detail) if problem.code is problems.Code.UNKNOWN_SCENARIO else problem


class CatalogueError(errors.PermanentError):
    """A catalogue cannot be read. The message names the file and the field."""


class TokenError(errors.PermanentError):
    """A key or a token makes no sense. The message names the file and what to do."""
