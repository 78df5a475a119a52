"""The W3C trace context of the request that is being answered, for whatever is logged meanwhile."""

import contextvars
import logging
import re

from awm_runtime.server import logs

_PARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")
_trace: contextvars.ContextVar[tuple[str, str] | None] = contextvars.ContextVar("trace", default=None)


def begin(traceparent: bytes | None) -> None:
    """Takes in a request's `traceparent`. Each request is answered in a context of its own, so nothing ends it.

    https://www.w3.org/TR/trace-context/#traceparent-header; what is written otherwise is no trace.
    """
    found = _PARENT.fullmatch(traceparent) if traceparent is not None else None
    _trace.set((found[1].decode(), found[2].decode()) if found is not None else None)


def install() -> None:
    """Adds the trace to what every handler of this process writes."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(_noted)


def _noted(record: logging.LogRecord) -> bool:
    trace = _trace.get()
    if trace is not None:
        ids = {"trace_id": trace[0], "span_id": trace[1]}
        setattr(record, logs.FIELDS, {**getattr(record, logs.FIELDS, {}), **ids})
    return True
