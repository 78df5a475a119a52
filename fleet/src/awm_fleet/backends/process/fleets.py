"""A fleet on this machine: the bundles that are served, on the backend of processes."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from awm_fleet import shelves
from awm_fleet.backends import protocol
from awm_registry import directory
from awm_registry.catalogue import model
from awm_runtime import errors
from awm_runtime.contract import problems

logger = logging.getLogger("awm.fleet")


class LocalBackend(protocol.Backend, Protocol):
    """What a fleet on this machine needs of its backend, beside what every backend does."""

    @property
    def version(self) -> int:
        """How many changes of instances there were."""
        ...

    def open_episodes(self, specs: Sequence[protocol.EnvironmentSpec]) -> list[int | None]:
        """How many episodes of each environment take calls; None where only waking it would tell. May block."""
        ...

    def pids(self) -> set[int]:
        """The processes that the backend waits for itself."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """A scenario as `awm status` shows it.

    Attributes:
        name, generation: Which.
        state: Its instance's; asleep where there is none.
        episodes: How many take calls, the default one not counted; None where only waking it would tell.
        reason: Why it failed or drains.
        diagnostics: What operators may want to know of it.
    """

    name: str
    generation: int
    state: directory.State
    episodes: int | None
    reason: str | None = None
    diagnostics: dict[str, Any] | None = None


class LocalFleet:
    """Scenarios by name: what wakes them, and what is to be said of them.

    Args:
        runs: The backend.
        shelf: What is served.
        images: Images that are there already, by the digests of the bundles in them, for a backend of containers.
        idle_s: A scenario that nobody uses for so long is put to sleep.
    """

    def __init__(self, runs: LocalBackend, shelf: shelves.Shelf, *, images: Mapping[str, str], idle_s: float) -> None:
        self._backend = runs
        self._shelf = shelf
        self._images = images
        self._idle_s = idle_s
        self._began = time.monotonic()
        self._renewing = asyncio.Lock()

    @property
    def shelf(self) -> shelves.Shelf:
        """What is served."""
        return self._shelf

    @property
    def uptime_s(self) -> float:
        """How long it runs."""
        return time.monotonic() - self._began

    @property
    def version(self) -> int:
        """How many changes of instances there were."""
        return self._backend.version

    async def wake(self, scenario: str, generation: int | None = None) -> None:
        """Asks for an instance of a scenario's generation, by default the newest; see `Directory.wake`.

        Raises:
            ProblemError: `unknown_scenario`, `at_capacity`, `start_failed`.
        """
        entry = self._entry(scenario, generation)
        try:
            async with self._renewing:
                self._shelf, entry = await asyncio.to_thread(shelves.renewed, self._shelf, entry)
            spec = self._spec(entry)
            await self._backend.ensure(spec)
        except errors.TransientError as exc:
            raise problems.ProblemError(problems.Code.AT_CAPACITY, str(exc), retry_after_s=exc.retry_after_s) from exc
        except OSError as exc:
            raise problems.ProblemError(
                problems.Code.AT_CAPACITY, f"the catalogue cannot be written: {exc.strerror}", retry_after_s=5.0
            ) from exc
        except errors.PermanentError as exc:
            raise problems.ProblemError(
                problems.Code.START_FAILED, f"{scenario} cannot be served: {exc}", blame="environment"
            ) from exc
        for each in await self._backend.instances():
            if each.state == "failed" and (each.scenario, each.bundle) == (scenario, entry.bundle):
                raise problems.ProblemError(
                    problems.Code.START_FAILED,
                    f"{scenario} does not start: {each.reason}",
                    diagnostics=each.diagnostics,
                    retry_after_s=(each.diagnostics or {}).get("tried_again_after_s"),
                )

    async def instances(self) -> list[directory.Instance]:
        """Every instance."""
        return list(await self._backend.instances())

    def watch(self) -> AsyncIterator[directory.Change]:
        """Every change of an instance, the present ones first."""
        return self._backend.watch()

    async def rows(self) -> list[Row]:
        """Every scenario, by name. Wakes nothing."""
        present = {(each.scenario, each.bundle): each for each in await self.instances()}
        entries = sorted(self._shelf.entries, key=lambda each: (each.name, each.generation))
        counts = await asyncio.to_thread(self._backend.open_episodes, [self._spec(each) for each in entries])
        return [
            _row(entry, present.get((entry.name, entry.bundle)), count)
            for entry, count in zip(entries, counts, strict=True)
        ]

    async def logs(self, scenario: str, *, lines: int) -> str:
        """The last lines of a scenario's log.

        Raises:
            ProblemError: `unknown_scenario`.
        """
        return "".join(
            [await self._backend.logs(self._spec(each).key, lines=lines) for each in self._generations(scenario)]
        )

    def _spec(self, entry: model.Entry) -> protocol.EnvironmentSpec:
        return protocol.EnvironmentSpec(
            scenario=entry.name,
            generation=entry.generation,
            digest=entry.bundle,
            bundle=Path(entry.folder) if entry.folder is not None else None,
            image=self._images.get(entry.bundle),
            idle_s=self._idle_s,
        )

    def _entry(self, scenario: str, generation: int | None) -> model.Entry:
        found = [each for each in self._generations(scenario) if generation in (None, each.generation)]
        if not found:
            raise problems.ProblemError(
                problems.Code.UNKNOWN_SCENARIO, f"{scenario} has no generation {generation} here; see `awm status`"
            )
        return max(found, key=lambda each: each.generation)

    def _generations(self, scenario: str) -> list[model.Entry]:
        found = [each for each in self._shelf.entries if each.name == scenario]
        if not found:
            raise problems.ProblemError(
                problems.Code.UNKNOWN_SCENARIO, f"no scenario {scenario!r} is served here; see `awm status`"
            )
        return found


def _row(entry: model.Entry, instance: directory.Instance | None, episodes: int | None) -> Row:
    if instance is None:
        return Row(entry.name, entry.generation, "asleep", episodes)
    return Row(entry.name, entry.generation, instance.state, episodes, instance.reason, instance.diagnostics)
