"""A full disk, as far as this process can tell."""

import contextlib
import resource
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def full(*, at_bytes: int = 0) -> Iterator[None]:
    """Lets no file of this process grow beyond `at_bytes`, for the length of a `with` block."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (at_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
