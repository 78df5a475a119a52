"""The errors of this package; the class is the caller's decision.

```text
AwmError
├── TransientError(retry_after_s)   try again
└── PermanentError                  do not
    ├── BundleError                 a bundle cannot be read, or its database cannot be made
    └── EnvironmentCodeError        a scenario's code cannot be loaded
```

`awm_runtime.contract.problems.ProblemError` is the one that an HTTP caller sees.
"""


class AwmError(Exception):
    """What every error of ours is."""


class TransientError(AwmError):
    """Trying again later may work.

    Args:
        message: What happened.
        retry_after_s: When to try again, in seconds.
    """

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class PermanentError(AwmError):
    """Trying again without a change will not work."""


class BundleError(PermanentError):
    """A bundle cannot be used. The message names the file, and the row or field where there is one."""


class EnvironmentCodeError(PermanentError):
    """A scenario's code cannot be loaded.

    Args:
        message: A short reason, fit for a report.
        detail: The traceback or output, for the log and the scenario's author.
    """

    def __init__(self, message: str, *, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail
