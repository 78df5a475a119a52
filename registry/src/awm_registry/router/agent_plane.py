"""The agent plane: `/e/{episode}/mcp` and `/s/{scenario}/mcp`, handed on to instances as they come.

Every tool call passes through, so this is plain ASGI. A request is read as a whole before it is handed on, so that a
client that sends slowly holds up nobody; an answer is handed on part by part.
"""

import asyncio
import logging
from dataclasses import dataclass

from awm_registry import directory, errors
from awm_registry.router import (
    asking,
    authority,
    controls,
    defaults,
    metrics,
    refusals,
    requests,
    served,
    settings,
    tracing,
    wire,
)
from awm_runtime.contract import problems
from awm_runtime.server import exchanges, hosts, logs
from awm_runtime.server import mcp_replies as replies

logger = logging.getLogger(__name__)

METHODS = ("POST", "GET", "DELETE")
_ALLOW = (b"allow", b"POST, GET, DELETE, OPTIONS")
_PROBLEM = problems.MEDIA_TYPE.encode()
_JSON = b"application/json"
_EPISODE, _SCENARIO = "/e/", "/s/"


@dataclass(frozen=True, slots=True)
class Target:
    """What a path leads to: an episode, or the default episode of a scenario."""

    episode: str | None = None
    scenario: str | None = None


@dataclass(frozen=True, slots=True)
class _Message:
    """A request that is to be handed on."""

    method: str
    headers: exchanges.Headers
    lines: bytes
    body: bytes


class AgentPlane:
    """The ASGI application.

    Args:
        ask: How instances are asked.
        control: Where episodes are found.
        default: The default episodes.
        catalogues: What scenarios there are.
        tokens: Who may do what.
        guard: Which Host and Origin headers are answered.
        limits: The router's settings.
        meter: What is counted.
    """

    def __init__(
        self,
        ask: asking.Asking,
        control: controls.Controls,
        default: defaults.DefaultEpisodes,
        *,
        catalogues: served.Catalogues,
        tokens: authority.Authority,
        guard: hosts.HostGuard,
        limits: settings.Settings,
        meter: metrics.Metrics,
    ) -> None:
        self._asking = ask
        self._control = control
        self._default = default
        self._catalogues = catalogues
        self._tokens = tokens
        self._guard = guard
        self._limits = limits
        self._meter = meter

    async def __call__(self, scope: exchanges.Scope, receive: exchanges.Receive, send: exchanges.Send) -> None:
        """Hands one request on."""
        headers = exchanges.folded(scope["headers"])
        tracing.begin(headers.get(b"traceparent"))
        try:
            self._guard.check(headers)
            kind, name = _named(scope["path"])
            if scope["method"] not in METHODS:
                await exchanges.send(send, 204 if scope["method"] == "OPTIONS" else 405, b"", None, _ALLOW)
                return
            caller = self._tokens.caller(authority.bearer(headers.get(b"authorization")))
            target = self._target(kind, name)
            authority.require(caller, "agent", episode=target.episode, scenario=target.scenario)
            body = await self._body(headers, receive)
            if body is None:
                large = f"A request is at most {self._limits.request_bytes} bytes long."
                await _send(send, replies.refused(413, problems.Code.TOO_LARGE, large))
                return
        except problems.ProblemError as problem:
            await self._refuse(send, problem)
            return
        except exchanges.Disconnected:
            return
        message = _Message(scope["method"], headers, requests.passed_on(scope["headers"]), body)
        with self._meter.agent_request():
            try:
                await self._hand_on(target, caller, message, receive, send)
            except problems.ProblemError as problem:
                self._meter.agent_problem(problem.code)
                _note(scope, problem)
                reply = refusals.reply(headers, body, problem)
                await (self._refuse(send, problem) if reply is None else _send(send, reply))

    def _target(self, kind: str, name: str) -> Target:
        """What a path leads to.

        Raises:
            ProblemError: `unknown_scenario`.
        """
        if kind == _EPISODE:
            return Target(episode=name)
        return Target(scenario=self._catalogues.current.entry(name).name)

    async def _body(self, headers: exchanges.Headers, receive: exchanges.Receive) -> bytes | None:
        """A request's body; None where it is too large.

        Raises:
            ProblemError: `timeout`: it did not come in time.
        """
        try:
            async with asyncio.timeout(self._limits.request_s):
                return await exchanges.body(headers, receive, self._limits.request_bytes)
        except TimeoutError as exc:
            raise problems.ProblemError(
                problems.Code.TIMEOUT, "the request did not arrive in time", blame="agent"
            ) from exc

    async def _hand_on(
        self,
        target: Target,
        caller: authority.Caller,
        message: _Message,
        receive: exchanges.Receive,
        send: exchanges.Send,
    ) -> None:
        if target.episode is not None:
            locate = self._control.holder_of(target.episode)
            answer = await self._exchange(locate, target.episode, message, receive, send)
            if answer is not None and refusals.code_in(answer.body) == problems.Code.UNKNOWN_EPISODE:
                raise controls.forgotten()
        else:
            answer = await self._in_default(target.scenario or "", caller, message, receive, send)
        if answer is not None:
            await _send_whole(send, answer)

    async def _in_default(
        self,
        scenario: str,
        caller: authority.Caller,
        message: _Message,
        receive: exchanges.Receive,
        send: exchanges.Send,
    ) -> wire.Answer | None:
        """As `_exchange`, in the caller's default episode; in a new one where the old one ended."""
        for _ in range(2):
            instance = await self._default.holder(scenario, caller.subject)
            id = self._default.id(instance, caller.subject)
            answer = await self._exchange(self._control.holder_of(id), id, message, receive, send)
            code = None if answer is None else refusals.code_in(answer.body)
            if code is None or not self._default.ended(id, code):
                break
        if code == problems.Code.UNKNOWN_EPISODE:
            raise controls.forgotten()
        return answer

    async def _exchange(
        self,
        locate: asking.Locate,
        episode: str,
        message: _Message,
        receive: exchanges.Receive,
        send: exchanges.Send,
    ) -> wire.Answer | None:
        """The answer of an episode's instance; None where it was a stream, which the client has by then."""

        def request(instance: directory.Instance) -> tuple[str, bytes]:
            # Instances with a token of their own take none of ours, and ask agents for none.
            token = None if instance.control_token else self._tokens.instance_token(instance.id)
            return requests.agent(
                instance, message.method, episode, token=token, lines=message.lines, body=message.body
            )

        try:
            async with self._asking.asked(locate, request, repeatable=False) as answer:
                if answer.is_whole:
                    return answer
                await self._stream(answer, receive, send)
                return None
        except problems.ProblemError as problem:
            if problem.code is problems.Code.EPISODE_INTERRUPTED and refusals.is_call(message.body):
                await self._control.interrupt(episode)
            raise

    async def _stream(self, answer: wire.Answer, receive: exchanges.Receive, send: exchanges.Send) -> None:
        """Hands an answer on as it comes, until it ends or the client goes. Where the instance breaks off, the
        client's answer breaks off too: it never looks complete."""
        await send(
            {"type": "http.response.start", "status": answer.status, "headers": requests.answered(answer.headers)}
        )
        pump = asyncio.ensure_future(self._pump(answer, send))
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({pump, gone}, return_when=asyncio.FIRST_COMPLETED)
            if pump.done():
                pump.result()
        except (wire.Broken, TimeoutError) as exc:
            logger.warning("a stream was cut: %s", exc or "it took too long")
        finally:
            for task in (pump, gone):
                task.cancel()
            await asyncio.wait({pump, gone})

    async def _pump(self, answer: wire.Answer, send: exchanges.Send) -> None:
        async for part in answer.parts(self._limits.answer_s):
            async with asyncio.timeout(self._limits.answer_s):  # a client that reads nothing
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _refuse(self, send: exchanges.Send, problem: problems.ProblemError) -> None:
        """Answers with a problem, before MCP has begun."""
        headers = [(b"www-authenticate", b"Bearer")] if problem.code is problems.Code.UNAUTHENTICATED else []
        if problem.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % max(1, round(problem.retry_after_s))))
        await exchanges.send(send, problem.problem.status, problem.body(), _PROBLEM, *headers)


def _note(scope: exchanges.Scope, problem: problems.ProblemError) -> None:
    """Logs what could not be handed on: a warning where the fleet is to blame, and is not merely full or starting."""
    expected = problem.blame == "agent" or problem.code in errors.PRESSURE
    level = logging.DEBUG if expected else logging.WARNING
    fields = {"path": scope["path"], "code": problem.code, "class": problem.blame}
    brief = f"{scope['method']} {logs.shown(scope['path'])}: {problem.code}: {problem.detail}"
    logger.log(level, "%s", brief, extra={logs.FIELDS: fields})


def _named(path: str) -> tuple[str, str]:
    """What a path names: an episode or a scenario, and its name.

    Raises:
        ProblemError: Nothing that is served here.
    """
    kind, name = path[:3], path[3:-4]
    if kind in (_EPISODE, _SCENARIO) and path.endswith("/mcp") and name and "/" not in name:
        return kind, name
    raise problems.ProblemError(
        problems.Code.UNKNOWN_EPISODE, "MCP is served at /e/{episode}/mcp and at /s/{scenario}/mcp"
    )


async def _send_whole(send: exchanges.Send, answer: wire.Answer) -> None:
    headers = [each for each in requests.answered(answer.headers) if each[0] != b"content-length"]
    if answer.status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _send(send: exchanges.Send, reply: replies.Reply) -> None:
    wait = () if reply.retry_after is None else ((b"retry-after", reply.retry_after),)
    await exchanges.send(send, reply.status, reply.body, _JSON if reply.body else None, *wait)


async def _gone(receive: exchanges.Receive) -> None:
    """Waits until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
