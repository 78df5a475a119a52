"""A backend without processes: it keeps the promises of `protocol.Backend` in memory, and breaks as it is told to."""

import asyncio
import dataclasses
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

from awm_fleet.backends import feeds, identities, protocol
from awm_registry import directory
from awm_runtime import errors

_LINES_KEPT = 1000


class FakeBackend:
    """Instances are entries in a table, their episodes are names.

    Args:
        room: How many environments may run at once.

    Attributes:
        specs: What was asked for last, by key.
    """

    def __init__(self, *, room: int = 1_000_000) -> None:
        self.specs: dict[protocol.Key, protocol.EnvironmentSpec] = {}
        self._room = room
        self._feed = feeds.Feed()
        self._episodes: defaultdict[directory.InstanceId, set[str]] = defaultdict(set)
        self._logs: defaultdict[protocol.Key, list[str]] = defaultdict(list)
        self._broken: dict[str, str] = {}
        self._starts: dict[protocol.Key, asyncio.Task[None]] = {}

    async def ensure(self, spec: protocol.EnvironmentSpec) -> None:
        earlier = self.specs.get(spec.key)
        running = [each for each in self._instances_of(spec.key) if each.state != "failed"]
        if earlier == spec and len(running) == spec.replicas:
            return
        others = {each.scenario for each in self._feed.all()} - {spec.scenario}
        if spec.replicas and len(others) >= self._room:
            raise errors.TransientError(f"{self._room} environments run already")
        self.specs[spec.key] = spec
        self._end(spec.key)
        for number in range(spec.replicas):
            self._feed.publish(self._instance(spec, number, state="starting"))
        self._starts[spec.key] = asyncio.create_task(self._start(spec), name=f"start {spec.scenario}")

    async def stop(self, key: protocol.Key) -> None:
        self._end(key)
        spec = self.specs.pop(key, None)
        if spec is not None:
            for number in range(max(1, spec.replicas)):
                self._episodes.pop(identities.instance_id(spec, number), None)

    async def instances(self) -> Sequence[directory.Instance]:
        return self._feed.all()

    def watch(self) -> AsyncIterator[directory.Change]:
        return self._feed.watch()

    async def logs(self, key: protocol.Key, *, lines: int = 100) -> str:
        return "".join(f"{line}\n" for line in self._logs.get(key, [])[-lines:])

    async def close(self) -> None:
        for key in list(self.specs):
            self._end(key)
        self._feed.close()

    # What a test does to it.

    def break_starts(self, scenario: str, reason: str) -> None:
        """From now on this scenario does not start."""
        self._broken[scenario] = reason

    def mend_starts(self, scenario: str) -> None:
        """It starts again."""
        self._broken.pop(scenario, None)

    def crash(self, key: protocol.Key) -> None:
        """Its instances end, and come back with their episodes."""
        spec = self.specs[key]
        for each in self._instances_of(key):
            self._feed.publish(dataclasses.replace(each, state="starting"))
        self._starts[key] = asyncio.create_task(self._start(spec), name=f"restart {spec.scenario}")

    def open_episode(self, id: directory.InstanceId) -> str:
        """Opens an episode on an instance."""
        episode = f"ep_{len(self._episodes[id])}"
        self._episodes[id].add(episode)
        return episode

    def has_episode(self, id: directory.InstanceId, episode: str) -> bool:
        """Whether an instance has it."""
        return self._feed.get(id) is not None and episode in self._episodes[id]

    async def _start(self, spec: protocol.EnvironmentSpec) -> None:
        await asyncio.sleep(0)  # a moment later, as everywhere
        reason = self._broken.get(spec.scenario)
        for number in range(spec.replicas):
            if reason is None:
                self._log(spec.key, f"{spec.scenario} is ready")
                self._feed.publish(self._instance(spec, number, state="ready"))
                continue
            self._log(spec.key, reason)
            failed = self._instance(spec, number, state="failed")
            self._feed.publish(
                dataclasses.replace(
                    failed, agent_url=None, control_url=None, reason=reason, diagnostics={"log": [reason]}
                )
            )

    def _instance(self, spec: protocol.EnvironmentSpec, number: int, *, state: directory.State) -> directory.Instance:
        id = identities.instance_id(spec, number)
        return directory.Instance(
            id=id,
            team=spec.team,
            scenario=spec.scenario,
            generation=spec.generation,
            bundle=spec.digest,
            state=state,
            agent_url=f"http://{id}.agent.invalid",
            control_url=f"http://{id}.control.invalid",
        )

    def _instances_of(self, key: protocol.Key) -> list[directory.Instance]:
        return [each for each in self._feed.all() if (each.team, each.scenario, each.generation) == key]

    def _end(self, key: protocol.Key) -> None:
        if (start := self._starts.pop(key, None)) is not None:
            start.cancel()
        for each in self._instances_of(key):
            self._feed.publish(dataclasses.replace(each, state="draining"))
            self._feed.remove(each.id)

    def _log(self, key: protocol.Key, line: str) -> None:
        self._logs[key] = [*self._logs[key], line][-_LINES_KEPT:]
