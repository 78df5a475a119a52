"""The errors of this package; the class is the caller's decision.

```text
AwmError
├── TransientError
│   └── ModelUnavailable          no reply came: overload, timeout, a lost connection. Asking again may help
└── PermanentError
    ├── ModelRefused              the endpoint refuses every request: key, model name, quota
    ├── RequestRefused            the endpoint refuses this request: too long, filtered
    │   └── FormUnsupported       it does not know this way to ask for JSON
    ├── BudgetSpent               the run has cost what it may
    ├── FolderInUse               another run works on the same folder
    └── GenerationError           files, flags or seeds that cannot be worked with
```

`awm_generator.oracles.OracleError` and `awm_generator.awm_files.drafts.Quarantined` are at home in their modules.
"""

from awm_runtime import errors


class ModelUnavailable(errors.TransientError):
    """No reply came. Asking again may help.

    Args:
        message: What happened, in the endpoint's own words where it had some.
        retry_after_s: When to ask again, in seconds.
        overloaded: Whether the endpoint asked for fewer requests.
    """

    def __init__(self, message: str, *, retry_after_s: float = 0.0, overloaded: bool = False) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.overloaded = overloaded


class ModelRefused(errors.PermanentError):
    """The endpoint refuses every request like this one: a wrong key or model name, no quota."""


class RequestRefused(errors.PermanentError):
    """The endpoint refuses this one request, and may well answer others."""


class FormUnsupported(RequestRefused):
    """The endpoint does not know the way in which JSON was asked for."""


class BudgetSpent(errors.PermanentError):
    """The run has cost what it may."""


class FolderInUse(errors.PermanentError):
    """Another run works on the same folder."""


class GenerationError(errors.PermanentError):
    """Files, flags or seeds that cannot be worked with. The message says what to do."""
