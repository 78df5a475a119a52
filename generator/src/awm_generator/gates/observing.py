"""What runtime gates look at: probes and walks of a scenario, and what its code reached for meanwhile."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from awm_generator.gates import hosting, probing, subjects, walking

_REACHING = frozenset(
    {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.bind", "subprocess.Popen"}
    | {"os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile", "urllib.Request", "ctypes.dlopen"}
)


class Reached:
    """Notes what scenario code tries to reach outside: audit events of the interpreter, by name and first argument.

    An audit hook cannot be removed, so there is one of these per process.
    """

    def __init__(self) -> None:
        self.events: list[str] = []
        self._watching = False

    def begin(self) -> None:
        """Notes from now on."""
        self._watching = True
        sys.addaudithook(self._note)

    def end(self) -> tuple[str, ...]:
        """Notes no more; what there was, each once."""
        self._watching = False
        return tuple(dict.fromkeys(self.events))

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._watching and event in _REACHING:
            shown = next((str(each) for each in arguments if isinstance(each, str | tuple | list)), "")
            self.events.append(f"{event} {shown}"[:200])


@dataclass(frozen=True)
class Observed:
    """A scenario that was called.

    Attributes:
        reached: What its code tried to reach outside.
    """

    subject: subjects.Subject
    probes: tuple[probing.Probe, ...]
    walks: walking.Walks
    reached: tuple[str, ...] = ()

    def calls(self) -> Iterator[hosting.Call]:
        """Every call whose effect was looked at."""
        yield from (probe.call for probe in self.probes)
        yield from self.walks.first.calls
        yield from self.walks.second.calls

    def firsts(self, wrong: Callable[[hosting.Call], bool]) -> Iterator[hosting.Call]:
        """Of each tool the first call that is wrong: one counterexample says what the others would."""
        shown: set[str] = set()
        for call in self.calls():
            if call.tool not in shown and wrong(call):
                shown.add(call.tool)
                yield call

    def reading(self) -> frozenset[str]:
        """The tools that say of themselves that they change nothing."""
        return frozenset(
            tool["name"] for tool in self.subject.bundle.tools if tool.get("annotations", {}).get("readOnlyHint")
        )


async def observe(host: hosting.Host, reached: Reached) -> Observed:
    """Calls a scenario in all the ways that the runtime gates judge."""
    reached.begin()
    probes = tuple(await probing.probe(host))
    walks = await walking.walk(host)
    return Observed(host.subject, probes, walks, reached.end())
