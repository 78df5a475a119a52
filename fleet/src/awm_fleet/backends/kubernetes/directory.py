"""Where a team's scenarios are on a cluster: what a router needs, from the same watches that the controller has.

A pod takes calls ("ready") when its revision is the one that serves; so none does before it was verified.
"""

import asyncio
import dataclasses
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

from awm_fleet.backends.kubernetes import api, conditions, model, names, objects, planning, teams
from awm_registry import directory
from awm_runtime.contract import problems

logger = logging.getLogger(__name__)

_ROOM_AGAIN_S = 5.0
_FAULT_AGAIN_S = 30.0
_SETTLED_S = 10.0


class ClusterDirectory:
    """The scenarios of one team. Is told of changes by the team's view (`changed`).

    Args:
        options: How the fleet is run; tells what there is room for.
    """

    def __init__(self, connection: api.Api, view: teams.TeamView, options: planning.Options) -> None:
        self._api = connection
        self._view = view
        self._options = options
        self._known: dict[str, dict[directory.InstanceId, directory.Instance]] = {}
        self._listeners: set[asyncio.Queue[directory.Change]] = set()
        self._waking: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    def changed(self, key: teams.Key) -> None:
        """Takes it that something happened to an environment, and tells who watches what became of its instances."""
        before = self._known.get(key.name, {})
        after = {each.id: each for each in self._found(key.name)}
        self._known[key.name] = after
        changes = [directory.Change(id, None) for id in before.keys() - after.keys()]
        changes += [directory.Change(id, each) for id, each in after.items() if before.get(id) != each]
        for listener in self._listeners:
            for change in changes:
                listener.put_nowait(change)
        for heard in self._waking.get(key.name, ()):
            heard.set()

    def instances(self, scenario: str) -> Sequence[directory.Instance]:
        """A scenario's instances, newest generation first; of those of one generation, the ready ones first."""
        found = self._found(names.environment(scenario))
        return sorted(found, key=lambda each: (-each.generation, each.state != "ready", each.id))

    def all(self) -> Sequence[directory.Instance]:
        """Every instance."""
        return [each for name in sorted(self._view.environments.items) for each in self._found(name)]

    async def watch(self) -> AsyncIterator[directory.Change]:
        """Every change from now on, the present instances first."""
        heard: asyncio.Queue[directory.Change] = asyncio.Queue()
        for each in self.all():
            heard.put_nowait(directory.Change(each.id, each))
        self._listeners.add(heard)
        try:
            while True:
                yield await heard.get()
        finally:
            self._listeners.discard(heard)

    def dormant(self, scenario: str) -> Sequence[directory.Dormant]:  # noqa: ARG002
        """None: a pod that went took its episodes with it."""
        return ()

    async def wake(self, scenario: str, generation: int | None = None) -> None:  # noqa: ARG002
        """Asks for a pod, by the environment's scale and nothing else; returns when one is made.

        Raises:
            ProblemError: `unknown_scenario`; `at_capacity` where the team's quota has no room; `start_failed` where the
                newest revision does not start.
        """
        environment = self._view.environments.items.get(names.environment(scenario))
        if environment is None or environment.deleting:
            raise problems.ProblemError(problems.Code.UNKNOWN_SCENARIO, f"this team is not served {scenario!r}")
        if environment.replicas == 0:
            awake = dataclasses.replace(environment, replicas=1)
            lacks = self._view.lacking(awake, self._options.pods, reserve=self._options.surge_reserve)
            if lacks is not None:
                raise problems.ProblemError(problems.Code.AT_CAPACITY, lacks, retry_after_s=_ROOM_AGAIN_S)
            await self._scale(environment)
        self._check_started(await self._accepted(environment))

    async def _scale(self, environment: model.Environment) -> None:
        change = {"spec": {"replicas": 1}}
        try:
            await self._api.merge(
                api.ENVIRONMENTS, environment.namespace, environment.name, change, subresource="scale"
            )
        except api.ApiError as exc:
            raise problems.ProblemError(problems.Code.STARTING, str(exc), retry_after_s=exc.retry_after_s) from exc

    async def _accepted(self, environment: model.Environment) -> model.Environment:
        """The environment once it has a pod, or is said not to get one: where several are woken at once into room for
        one, that is found out later than here. A busy controller is not waited for.
        """
        heard = asyncio.Event()
        waking = self._waking[environment.name]
        waking.add(heard)
        try:
            async with asyncio.timeout(_SETTLED_S):
                while not self._is_settled(environment.name):
                    heard.clear()
                    await heard.wait()
        except TimeoutError:
            logger.info("%s is woken, and the controller has said nothing of it yet", environment.name)
        finally:
            waking.discard(heard)
            if not waking:
                del self._waking[environment.name]
        return self._view.environments.items.get(environment.name, environment)

    def _is_settled(self, name: str) -> bool:
        """Whether the controller has looked at a wake, and something came of it."""
        found = self._view.environments.items.get(name)
        if found is None:
            return True
        has_looked = found.replicas > 0 and found.status.observed_generation == found.generation
        has_pods = any(not each.deleting for each in self._view.pods_of(name))
        return has_looked and (has_pods or found.status.state in ("ready", "failed"))

    def _check_started(self, environment: model.Environment) -> None:
        """Says why an environment that should run does not."""
        if environment.status.state != "failed":
            return
        said = [each for each in environment.status.conditions if each.status == "False" and each.type != "Ready"]
        reason = said[0].message if said else "it does not start"
        full = any(each.reason == conditions.NO_ROOM for each in said)
        code = problems.Code.AT_CAPACITY if full else problems.Code.START_FAILED
        raise problems.ProblemError(code, reason, retry_after_s=_ROOM_AGAIN_S if full else _FAULT_AGAIN_S)

    def _found(self, name: str) -> list[directory.Instance]:
        environment = self._view.environments.items.get(name)
        if environment is None:
            return []
        return [self._instance(environment, pod) for pod in self._view.pods_of(name)]

    def _instance(self, environment: model.Environment, pod: model.Pod) -> directory.Instance:
        state = _state(environment, pod)
        reachable = pod.address is not None and (state != "starting" or _served(environment, pod))
        return directory.Instance(
            id=directory.InstanceId(pod.uid),
            team=self._view.team.name,
            scenario=environment.scenario,
            generation=pod.bundle_generation,
            bundle=pod.bundle,
            state=state,
            agent_url=f"http://{pod.address}:{objects.AGENT_PORT}" if reachable else None,
            control_url=f"http://{pod.address}:{objects.CONTROL_PORT}" if reachable else None,
            is_direct=self._view.team.direct,
            reason=conditions.shown(f"{pod.trouble[0]}: {pod.trouble[1]}") if pod.trouble else None,
        )


def _state(environment: model.Environment, pod: model.Pod) -> directory.State:
    """What a pod may be asked for."""
    status = environment.status
    if pod.deleting or pod.drained:
        return "draining"
    if pod.revision == status.serving:
        return "ready" if pod.ready else "starting"
    if any(each.pod == pod.uid for each in status.tool_lists) and pod.revision != status.revision_hash:
        return "draining"
    return "failed" if pod.trouble else "starting"


def _served(environment: model.Environment, pod: model.Pod) -> bool:
    """Whether a pod that is not ready now was verified, and may have episodes; it is still said where to reach it."""
    status = environment.status
    return pod.revision == status.serving and any(each.pod == pod.uid for each in status.tool_lists)
