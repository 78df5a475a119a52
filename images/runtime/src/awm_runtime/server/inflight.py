"""The calls that run right now, in a file-backed table that survives `kill -9` and that the keeper reads.

It serves three ends. A slot that is still taken when an instance comes back names a call that was cut off. A slot whose
`kill_at` has passed tells the keeper that the instance is stuck.
"""

import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path

SLOTS = 256
EVENT_LOOP = "(event loop)"
"""Stands for the instance itself in the table, in the first slot: for its start, then for its event loop."""
_SLOT = struct.Struct("<48sQQ64s")
_PULSE = struct.Struct("<48sQQQQ48x")  # the first slot: an entry whose tool's place holds two numbers
_FREE = bytes(_SLOT.size)
_NO_CALLS = bytes(_SLOT.size * (SLOTS - 1))


@dataclass(frozen=True, slots=True)
class Pulse:
    """What an instance says of itself with each beat.

    Attributes:
        open_episodes: How many episodes take calls; the default episode is none of them.
        used_at_ns: When it was last asked for anything but how it is, on the clock of `time.monotonic_ns`.
    """

    open_episodes: int = 0
    used_at_ns: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """A taken slot.

    Attributes:
        episode: The episode's id.
        number: The call's number in its episode.
        kill_at_ns: When the call is past its hard deadline, on the clock of `time.monotonic_ns`.
        tool: The called tool, cut to what a slot holds.
    """

    episode: str
    number: int
    kill_at_ns: int
    tool: str = ""


class InFlightTable:
    """A table of at most 255 calls in flight, shared through a file by the instance and its keeper."""

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, SLOTS * _SLOT.size)
            if hasattr(os, "posix_fallocate"):  # writing to a map that the disk has no room for kills
                os.posix_fallocate(descriptor, 0, SLOTS * _SLOT.size)
            self._map = mmap.mmap(descriptor, SLOTS * _SLOT.size)
        finally:
            os.close(descriptor)
        if hasattr(mmap, "MADV_DONTFORK"):  # an episode's own process must not write into the table of all
            self._map.madvise(mmap.MADV_DONTFORK)
        self._free = [slot for slot in reversed(range(1, SLOTS)) if self._at(slot) == _FREE]

    def mark(self, episode: str, number: int, kill_at_ns: int, tool: str = "") -> int | None:
        """Takes a slot and returns it; none is free: None, and the call must be refused."""
        if not self._free:
            return None
        slot = self._free.pop()
        name = tool.encode(errors="replace")
        _SLOT.pack_into(self._map, slot * _SLOT.size, episode.encode(), number, kill_at_ns, name)
        return slot

    def beat(self, kill_at_ns: int, pulse: Pulse | None = None) -> None:
        """Says that the event loop turns, and by when it must have said so again."""
        said = pulse or Pulse()
        _PULSE.pack_into(self._map, 0, EVENT_LOOP.encode(), 0, kill_at_ns, said.open_episodes, said.used_at_ns)

    def pulse(self) -> Pulse:
        """What came with the last beat."""
        _, _, _, open_episodes, used_at_ns = _PULSE.unpack_from(self._map, 0)
        return Pulse(open_episodes, used_at_ns)

    def rest(self) -> None:
        """Says that no further beat is to be expected."""
        self._map[: _SLOT.size] = _FREE

    def clear(self, slot: int) -> None:
        """Gives the slot back: its call is answered."""
        start = slot * _SLOT.size
        self._map[start : start + _SLOT.size] = _FREE
        self._free.append(slot)

    def entries(self) -> list[Entry]:
        """The calls in flight, or, after a crash, the ones that were."""
        if self._map[_SLOT.size :] == _NO_CALLS:  # it is looked at often, and there are seldom any
            return [self._read(0)] if self._at(0) != _FREE else []
        return [self._read(slot) for slot in range(SLOTS) if self._at(slot) != _FREE]

    def take_back(self, left: list[Entry]) -> None:
        """Frees the slots of calls that an earlier process left in flight."""
        for slot in range(SLOTS):
            if self._at(slot) != _FREE and self._read(slot) in left:
                self.clear(slot)

    def close(self) -> None:
        """Unmaps the table."""
        self._map.close()

    def _at(self, slot: int) -> bytes:
        return self._map[slot * _SLOT.size : (slot + 1) * _SLOT.size]

    def _read(self, slot: int) -> Entry:
        episode, number, kill_at_ns, tool = _SLOT.unpack(self._at(slot))
        cut = tool.rstrip(b"\0").decode(errors="ignore") if slot else ""  # maybe within a character
        return Entry(episode.rstrip(b"\0").decode(errors="replace"), number, kill_at_ns, cut)
