"""What passes between the judge and its clients: requests, replies, and their frames. Standard library only.

A frame is the length of a JSON document in four bytes, most significant first, and the document.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

FailureKind = Literal["crashed", "timeout", "malformed", "missing_function", "unavailable"]
"""Why there is no result. All but *unavailable* (the judge or the machine failed) are the verifier's doing."""

AT_ONCE = 4
"""How many verifiers a judge runs side by side."""

DEFAULT_DEADLINE_S = 10.0
DEFAULT_MEMORY_BYTES = 512 * 1024 * 1024

_HEADER = struct.Struct(">I")


@dataclass(frozen=True, kw_only=True)
class JudgeRequest:
    """One verification.

    Attributes:
        source: The verifier's Python source.
        mode: `code` calls `verify_task_completion(initial, final, answer)`, `sql` calls `verify_task(initial, final)`.
        initial: The database before the episode. Both are files in DELETE mode that nobody writes to meanwhile.
        final: The database to judge; or a folder of databases, for a source that looks at several.
        answer: The agent's final answer.
        deadline_s: Time limit, also of processor time.
        memory_bytes: Limit of the verifier's address space.
    """

    source: str
    mode: Literal["code", "sql"]
    initial: Path
    final: Path
    answer: str | None = None
    deadline_s: float = DEFAULT_DEADLINE_S
    memory_bytes: int = DEFAULT_MEMORY_BYTES

    def message(self, number: int) -> dict[str, Any]:
        """The request as it is sent."""
        paths = {"initial": str(self.initial.absolute()), "final": str(self.final.absolute())}
        return {**vars(self), **paths, "id": number}

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> "JudgeRequest":
        """The request that `message` made."""
        fields = {name: value for name, value in message.items() if name != "id"}
        return cls(**{**fields, "initial": Path(message["initial"]), "final": Path(message["final"])})


@dataclass(frozen=True, kw_only=True)
class JudgeReply:
    """What came of a verification: a result or a failure.

    Attributes:
        result: What the verifier returned, checked (`results.parse`); None on failure.
        failure: Why there is no result.
        detail: One line about the failure.
        ms: How long it took.
        log: What the verifier printed, cut.
    """

    result: dict[str, Any] | None = None
    failure: FailureKind | None = None
    detail: str = ""
    ms: float = 0.0
    log: str = ""


def frame(message: dict[str, Any]) -> bytes:
    """A message, ready to send."""
    body = json.dumps(message).encode()
    return _HEADER.pack(len(body)) + body


class Frames:
    """Puts messages together from what arrives, however it is cut."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """The messages that `data` completes."""
        self._buffer += data
        while len(self._buffer) >= _HEADER.size:
            (length,) = _HEADER.unpack_from(self._buffer)
            end = _HEADER.size + length
            if len(self._buffer) < end:
                return
            message = json.loads(self._buffer[_HEADER.size : end])
            del self._buffer[:end]
            yield message
