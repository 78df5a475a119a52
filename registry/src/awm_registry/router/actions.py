"""What the control plane does, apart from HTTP: episodes, wherever in the fleet they are."""

import asyncio
from typing import Literal

import pydantic

from awm_registry import directory
from awm_registry.router import activation, authority, controls, defaults, metrics, opening, placing, roster, served
from awm_runtime.contract import episodes, problems, verdicts


class Unreachable(pydantic.BaseModel):
    """An instance whose episodes are missing in a list."""

    instance: str
    scenario: str
    error: problems.Problem


class Listing(pydantic.BaseModel):
    """The answer to `GET /v1/episodes`."""

    episodes: list[episodes.EpisodeView]
    unreachable: list[Unreachable] = []


class InstanceView(pydantic.BaseModel):
    """An instance as `GET /v1/resolve/{name}` shows it."""

    id: str
    generation: int
    bundle: str
    state: directory.State
    reason: str | None = None


class Resolved(pydantic.BaseModel):
    """The answer to `GET /v1/resolve/{name}`."""

    scenario: str
    generation: int
    state: directory.State
    mcp_url: str = pydantic.Field(description="The scenario's default episode, through the router.")
    direct_url: str | None = pydantic.Field(
        None, description="The same episode at its instance, for callers that can reach it; null until it was woken."
    )
    instances: list[InstanceView] = []


class PrefetchRequest(pydantic.BaseModel):
    """The body of `POST /v1/prefetch`."""

    model_config = pydantic.ConfigDict(extra="forbid")

    scenarios: list[str] = pydantic.Field(min_length=1, max_length=4096)


class Prefetched(pydantic.BaseModel):
    """The answer to `POST /v1/prefetch`."""

    scenarios: list[Resolved]
    rejected: list[episodes.Rejection] = []


class Actions:
    """The episodes of a fleet, as trainers and operators handle them."""

    def __init__(
        self,
        open_batch: opening.Opening,
        control: controls.Controls,
        *,
        active: activation.Activation,
        known: roster.Roster,
        default: defaults.DefaultEpisodes,
        catalogues: served.Catalogues,
        tokens: authority.Authority,
        meter: metrics.Metrics,
    ) -> None:
        self._opening = open_batch
        self._control = control
        self._active = active
        self._roster = known
        self._default = default
        self._catalogues = catalogues
        self._tokens = tokens
        self._meter = meter

    async def open(self, wanted: opening.Wanted, caller: authority.Caller, url: str) -> episodes.OpenResponse:
        """Opens a batch. `url` is where agents reach this router, without a path."""
        opened = await self._opening.open(wanted)
        self._meter.episodes_opened(len(opened.episodes))
        return opened.model_copy(
            update={
                "episodes": [
                    self._routed(each, url).model_copy(
                        update={"token": self._tokens.agent_token(caller, each.id, each.expires_at)}
                    )
                    for each in opened.episodes
                ]
            }
        )

    async def list(
        self, url: str, lines: bytes, *, scenario: str | None, state: episodes.EpisodeState | None
    ) -> Listing:
        """The episodes of all instances that are awake; instances that do not answer are named."""
        wanted = None if scenario is None else self._catalogues.current.entry(scenario).name
        awake = [each for each in placing.reachable(self._roster.all()) if wanted in (None, each.scenario)]
        listing = Listing(episodes=[])
        async with asyncio.TaskGroup() as group:
            for instance in awake:
                group.create_task(self._list_into(listing, instance, url, lines))
        found = (each for each in listing.episodes if state in (None, each.state))
        listing.episodes = sorted(found, key=lambda each: (each.scenario, each.id))
        return listing

    async def _list_into(self, listing: Listing, instance: directory.Instance, url: str, lines: bytes) -> None:
        try:
            found = await self._control.listed(instance, lines=lines)
            listing.episodes += [routed(each, url, instance) for each in found]
        except problems.ProblemError as exc:
            listing.unreachable.append(Unreachable(instance=instance.id, scenario=instance.scenario, error=exc.problem))

    async def look(self, id: str, url: str, lines: bytes) -> episodes.EpisodeView:
        """One episode."""
        return await self._view("GET", id, "", url, lines=lines)

    async def reset(self, id: str, wanted: episodes.ResetRequest, url: str, lines: bytes) -> episodes.EpisodeView:
        """Puts an episode back to the seed."""
        return await self._view("POST", id, "/reset", url, lines=lines, body=wanted.model_dump_json().encode())

    async def _view(
        self, method: Literal["GET", "POST"], id: str, action: str, url: str, *, lines: bytes, body: bytes = b""
    ) -> episodes.EpisodeView:
        repeatable = method == "GET"
        view = await self._control.episode(
            method, id, action=action, kind=episodes.EpisodeView, lines=lines, body=body, repeatable=repeatable
        )
        if view.id != id:
            raise problems.ProblemError(problems.Code.INTERNAL, "the instance answered for another episode")
        return self._routed(view, url)

    def _routed(self, view: episodes.EpisodeView, url: str) -> episodes.EpisodeView:
        return routed(view, url, self._control.held_at(view.id, self._roster.of(view.scenario)))

    async def heartbeat(self, id: str, lines: bytes) -> episodes.Lease:
        """Renews a lease."""
        return await self._control.episode(
            "POST", id, action="/heartbeat", kind=episodes.Lease, lines=lines, repeatable=True
        )

    async def verify(self, id: str, wanted: verdicts.VerifyRequest, lines: bytes) -> verdicts.Verdict:
        """Judges an episode; made again where an instance broke off, since a verdict changes nothing."""
        body = wanted.model_dump_json().encode()
        return await self._control.episode(
            "POST", id, action="/verify", kind=verdicts.Verdict, lines=lines, body=body, repeatable=True
        )

    async def close(self, id: str, lines: bytes) -> None:
        """Ends an episode; one that is lost is ended too."""
        request = self._control.request("DELETE", f"/v1/episodes/{id}", lines=lines)
        try:
            async with self._control.asking.asked(self._control.holder_of(id), request, repeatable=True) as answer:
                await self._control.checked(answer)
        except problems.ProblemError as exc:
            if exc.code is not problems.Code.EPISODE_LOST:
                raise

    async def resolve(self, name: str, caller: authority.Caller, url: str, *, wake: bool, wait_s: float) -> Resolved:
        """Where a scenario is."""
        scenario = self._catalogues.current.entry(name).name
        direct = None
        if wake:
            try:
                await self._active.candidates(scenario, wait_s=wait_s)
                holder = await self._default.holder(scenario, caller.subject)
                direct = direct_url(holder, self._default.id(holder, caller.subject))
            except problems.ProblemError as exc:
                if exc.code is not problems.Code.STARTING:
                    raise
        return self._resolved(scenario, url, direct)

    async def prefetch(self, wanted: PrefetchRequest, url: str) -> Prefetched:
        """Wakes scenarios and waits for none."""
        results: list[Resolved | problems.ProblemError] = await asyncio.gather(
            *(self._prefetch_one(name, url) for name in wanted.scenarios)
        )
        return Prefetched(
            scenarios=[each for each in results if isinstance(each, Resolved)],
            rejected=[
                episodes.Rejection(index=index, error=each.problem)
                for index, each in enumerate(results)
                if isinstance(each, problems.ProblemError)
            ],
        )

    async def _prefetch_one(self, name: str, url: str) -> Resolved | problems.ProblemError:
        try:
            scenario = self._catalogues.current.entry(name).name
            if not placing.candidates(self._roster.of(scenario)):
                await self._active.wake(scenario)
            return self._resolved(scenario, url, None)
        except problems.ProblemError as exc:
            return exc

    def _resolved(self, scenario: str, url: str, direct: str | None) -> Resolved:
        known = self._roster.of(scenario)
        best = placing.candidates(known)
        entry = self._catalogues.current.entry(scenario)
        return Resolved(
            scenario=scenario,
            generation=best[0].generation if best else entry.generation,
            state=placing.state(known),
            mcp_url=f"{url}/s/{scenario}/mcp",
            direct_url=direct,
            instances=[
                InstanceView(
                    id=each.id, generation=each.generation, bundle=each.bundle, state=each.state, reason=each.reason
                )
                for each in known
            ],
        )


def mcp_url(url: str, id: str) -> str:
    """An episode's MCP URL on a router or an instance."""
    return f"{url}/e/{id}/mcp"


def direct_url(instance: directory.Instance | None, id: str) -> str | None:
    """An episode's MCP URL at its instance; None where callers cannot reach that."""
    if instance is None or instance.agent_url is None or not instance.is_direct:
        return None
    return mcp_url(instance.agent_url, id)


def routed(view: episodes.EpisodeView, url: str, instance: directory.Instance | None) -> episodes.EpisodeView:
    """An episode with its URLs as callers see them, and not as its instance does."""
    return view.model_copy(update={"mcp_url": mcp_url(url, view.id), "direct_url": direct_url(instance, view.id)})
