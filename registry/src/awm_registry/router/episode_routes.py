"""The routes of episodes."""

import contextlib
import functools
from collections.abc import AsyncIterator
from typing import Annotated, Literal

import fastapi
from fastapi import responses

from awm_registry.router import actions as acting
from awm_registry.router import asking, controls, opening, requests, settings, wire
from awm_registry.router.routes import OF_EPISODES, OF_SCENARIOS, Caller, EpisodeId, Lines, Route, Url
from awm_runtime.contract import episodes, problems, verdicts

_SQLITE = "application/vnd.sqlite3"
_JSON = "application/json"
_LINES = "application/x-ndjson"
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_Key = Annotated[
    str | None,
    fastapi.Header(
        alias="Idempotency-Key", min_length=1, max_length=200, description="The same key comes to the same episodes."
    ),
]


class _Endpoints:
    """What answers, as FastAPI takes it: the text of each is in the OpenAPI document."""

    def __init__(self, actions: acting.Actions, control: controls.Controls, limits: settings.Settings) -> None:
        self._actions = actions
        self._control = control
        self._limits = limits

    async def open_episodes(
        self, wanted: episodes.FleetOpenRequest, caller: Caller, url: Url, lines: Lines, key: _Key = None
    ) -> episodes.OpenResponse:
        """Opens one episode or a batch; items that cannot be opened are refused by themselves."""
        request = opening.Wanted(request=wanted, subject=caller.subject, key=key, lines=lines)
        return await self._actions.open(request, caller, url)

    async def list_episodes(
        self, url: Url, lines: Lines, scenario: str | None = None, state: episodes.EpisodeState | None = None
    ) -> acting.Listing:
        """The episodes of all instances that are awake. Wakes none."""
        return await self._actions.list(url, lines, scenario=scenario, state=state)

    async def look(self, id: EpisodeId, url: Url, lines: Lines) -> episodes.EpisodeView:
        """One episode."""
        return await self._actions.look(id, url, lines)

    async def close(self, id: EpisodeId, lines: Lines) -> None:
        """Ends an episode; twice is fine."""
        await self._actions.close(id, lines)

    async def reset(
        self, id: EpisodeId, url: Url, lines: Lines, wanted: episodes.ResetRequest | None = None
    ) -> episodes.EpisodeView:
        """Puts an episode back to the seed."""
        return await self._actions.reset(id, wanted or episodes.ResetRequest(), url, lines)

    async def heartbeat(self, id: EpisodeId, lines: Lines) -> episodes.Lease:
        """Renews an episode's lease."""
        return await self._actions.heartbeat(id, lines)

    async def verify(
        self, id: EpisodeId, lines: Lines, wanted: verdicts.VerifyRequest | None = None
    ) -> verdicts.Verdict:
        """Judges an episode as it is now."""
        return await self._actions.verify(id, wanted or verdicts.VerifyRequest(), lines)

    async def diff(self, id: EpisodeId, lines: Lines) -> fastapi.Response:
        """The rows that changed since the seed, by table."""
        return await self._passed_on(id, "diff", lines)

    async def trace(self, id: EpisodeId, lines: Lines) -> fastapi.Response:
        """The call log, a JSON object a line."""
        return await self._passed_on(id, "trace", lines)

    async def snapshot(
        self, id: EpisodeId, lines: Lines, which: Literal["initial", "current"] = "current"
    ) -> fastapi.Response:
        """The episode's SQLite file."""
        return await self._passed_on(id, f"snapshot?which={which}", lines)

    async def _passed_on(self, id: str, what: str, lines: bytes) -> fastapi.Response:
        """An instance's answer as it comes, however long."""
        locate = self._control.holder_of(id)
        request = self._control.request("GET", f"/v1/episodes/{id}/{what}", lines=lines)
        held = contextlib.AsyncExitStack()
        answer = await held.enter_async_context(self._control.asking.asked(locate, request, repeatable=True))
        try:
            if answer.status != 200:
                await self._control.checked(answer)
                raise problems.ProblemError(problems.Code.INTERNAL, "the instance's answer makes no sense")
        except BaseException:
            await held.aclose()
            raise
        return responses.StreamingResponse(
            _parts(held, answer, self._limits),
            headers={name.decode(): value.decode("latin-1") for name, value in requests.answered(answer.headers)},
        )


def table(actions: acting.Actions, control: controls.Controls, limits: settings.Settings) -> list[Route]:
    """The routes."""
    ends = _Endpoints(actions, control, limits)
    one = "/v1/episodes/{id}"
    of_one = functools.partial(Route, scope="control", refuses=OF_EPISODES)
    return [
        Route(method="POST", path="/v1/episodes", scope="control", endpoint=ends.open_episodes, status=201),
        Route(method="GET", path="/v1/episodes", scope="control", endpoint=ends.list_episodes, refuses=OF_SCENARIOS),
        of_one(method="GET", path=one, endpoint=ends.look),
        of_one(method="DELETE", path=one, endpoint=ends.close, status=204),
        of_one(method="POST", path=f"{one}/reset", endpoint=ends.reset),
        of_one(method="POST", path=f"{one}/heartbeat", endpoint=ends.heartbeat),
        of_one(method="POST", path=f"{one}/verify", endpoint=ends.verify),
        of_one(method="GET", path=f"{one}/diff", endpoint=ends.diff, answers={_JSON: {"schema": {"type": "object"}}}),
        of_one(method="GET", path=f"{one}/trace", endpoint=ends.trace, answers={_LINES: _BINARY}),
        of_one(method="GET", path=f"{one}/snapshot", endpoint=ends.snapshot, answers={_SQLITE: _BINARY}),
    ]


async def _parts(
    held: contextlib.AsyncExitStack, answer: wire.Answer, limits: settings.Settings
) -> AsyncIterator[bytes]:
    async with held:
        try:
            async for part in answer.parts(limits.answer_s):
                yield part
        except wire.Broken as exc:
            raise asking.broken_off(exc) from exc
