"""The routes of episodes."""

import contextlib
from collections.abc import AsyncIterator
from typing import Annotated, Literal

import fastapi
from fastapi import responses

from awm_registry.router import actions as acting
from awm_registry.router import asking, controls, opening, requests, settings, wire
from awm_registry.router.routes import Caller, EpisodeId, Lines, Route, Url
from awm_runtime.contract import episodes, problems, verdicts

_SQLITE = "application/vnd.sqlite3"
_LINES = "application/x-ndjson"
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_Key = Annotated[
    str | None,
    fastapi.Header(
        alias="Idempotency-Key", min_length=1, max_length=200, description="The same key comes to the same episodes."
    ),
]


def table(actions: acting.Actions, control: controls.Controls, limits: settings.Settings) -> list[Route]:
    """The routes."""

    async def open_episodes(
        wanted: episodes.FleetOpenRequest, caller: Caller, url: Url, lines: Lines, key: _Key = None
    ) -> episodes.OpenResponse:
        """Opens one episode or a batch; items that cannot be opened are refused by themselves."""
        request = opening.Wanted(request=wanted, subject=caller.subject, key=key, lines=lines)
        return await actions.open(request, caller, url)

    async def list_episodes(
        url: Url, lines: Lines, scenario: str | None = None, state: episodes.EpisodeState | None = None
    ) -> acting.Listing:
        """The episodes of all instances that are awake. Wakes none."""
        return await actions.list(url, lines, scenario=scenario, state=state)

    async def look(id: EpisodeId, url: Url, lines: Lines) -> episodes.EpisodeView:
        """One episode."""
        return await actions.look(id, url, lines)

    async def close(id: EpisodeId, lines: Lines) -> None:
        """Ends an episode; twice is fine."""
        await actions.close(id, lines)

    async def reset(
        id: EpisodeId, url: Url, lines: Lines, wanted: episodes.ResetRequest | None = None
    ) -> episodes.EpisodeView:
        """Puts an episode back to the seed."""
        return await actions.reset(id, wanted or episodes.ResetRequest(), url, lines)

    async def heartbeat(id: EpisodeId, lines: Lines) -> episodes.Lease:
        """Renews an episode's lease."""
        return await actions.heartbeat(id, lines)

    async def verify(id: EpisodeId, lines: Lines, wanted: verdicts.VerifyRequest | None = None) -> verdicts.Verdict:
        """Judges an episode as it is now."""
        return await actions.verify(id, wanted or verdicts.VerifyRequest(), lines)

    async def diff(id: EpisodeId, lines: Lines) -> fastapi.Response:
        """The rows that changed since the seed, by table."""
        return await _passed_on(control, limits, f"/v1/episodes/{id}/diff", id, lines)

    async def trace(id: EpisodeId, lines: Lines) -> fastapi.Response:
        """The call log, a JSON object a line."""
        return await _passed_on(control, limits, f"/v1/episodes/{id}/trace", id, lines)

    async def snapshot(
        id: EpisodeId, lines: Lines, which: Literal["initial", "current"] = "current"
    ) -> fastapi.Response:
        """The episode's SQLite file."""
        return await _passed_on(control, limits, f"/v1/episodes/{id}/snapshot?which={which}", id, lines)

    one = "/v1/episodes/{id}"
    return [
        Route(method="POST", path="/v1/episodes", scope="control", endpoint=open_episodes, status=201),
        Route(method="GET", path="/v1/episodes", scope="control", endpoint=list_episodes),
        Route(method="GET", path=one, scope="control", endpoint=look),
        Route(method="DELETE", path=one, scope="control", endpoint=close, status=204),
        Route(method="POST", path=f"{one}/reset", scope="control", endpoint=reset),
        Route(method="POST", path=f"{one}/heartbeat", scope="control", endpoint=heartbeat),
        Route(method="POST", path=f"{one}/verify", scope="control", endpoint=verify),
        Route(
            method="GET",
            path=f"{one}/diff",
            scope="control",
            endpoint=diff,
            answers={"application/json": {"schema": {"type": "object"}}},
        ),
        Route(method="GET", path=f"{one}/trace", scope="control", endpoint=trace, answers={_LINES: _BINARY}),
        Route(method="GET", path=f"{one}/snapshot", scope="control", endpoint=snapshot, answers={_SQLITE: _BINARY}),
    ]


async def _passed_on(
    control: controls.Controls, limits: settings.Settings, path: str, id: str, lines: bytes
) -> fastapi.Response:
    """An instance's answer as it comes, however long."""
    held = contextlib.AsyncExitStack()
    asked = control.asking.asked(control.holder_of(id), control.request("GET", path, lines=lines), repeatable=True)
    answer = await held.enter_async_context(asked)
    try:
        if answer.status != 200:
            await control.checked(answer)
            raise problems.ProblemError(problems.Code.INTERNAL, "the instance's answer makes no sense")
    except BaseException:
        await held.aclose()
        raise
    return responses.StreamingResponse(
        _parts(held, answer, limits),
        headers={name.decode(): value.decode("latin-1") for name, value in requests.answered(answer.headers)},
    )


async def _parts(
    held: contextlib.AsyncExitStack, answer: wire.Answer, limits: settings.Settings
) -> AsyncIterator[bytes]:
    async with held:
        try:
            async for part in answer.parts(limits.answer_s):
                yield part
        except wire.Broken as exc:
            raise asking.broken_off(exc) from exc
