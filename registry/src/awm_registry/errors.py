"""Errors of the registry. The class is the caller's decision.

```text
AwmError
├── TransientError(retry_after_s)   try again
│   ├── CapacityError               the fleet is full, or a scenario is starting
│   └── BackendUnavailable          no answer came, or a server is in trouble
└── PermanentError                  do not
    ├── CatalogueError              a catalogue cannot be read
    └── TokenError                  a key or a token makes no sense
```
"""

from awm_runtime import errors


class CatalogueError(errors.PermanentError):
    """A catalogue cannot be read. The message names the file and the field."""


class TokenError(errors.PermanentError):
    """A key or a token makes no sense. The message names the file and what to do."""
