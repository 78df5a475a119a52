"""What goes wrong with images.

```text
AwmError
├── TransientError
│   └── Unavailable        an image registry or a Docker engine does not answer, or asks to wait
└── PermanentError
    ├── ImageError         an image is missing, broken, or not fit for what is asked
    └── Denied             credentials or permissions are missing
```
"""

from awm_runtime import errors


class Unavailable(errors.TransientError):
    """An image registry or a Docker engine does not answer, or asks to wait."""


class ImageError(errors.PermanentError):
    """An image is missing, broken, or not fit for what is asked. The message names it."""


class Denied(errors.PermanentError):
    """Credentials or permissions are missing, or not accepted. The message says where they are taken from."""
