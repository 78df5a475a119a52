"""The server: OpenAI's routes and Azure's, what fails on cue, and the count of what was asked and answered."""

import asyncio
import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

import pydantic
from starlette import applications, requests, responses, routing
from starlette.types import Receive, Scope, Send

from awm_generator.double import faults, jobs, scripts
from awm_generator.model import scripted

Structured = Literal["schema", "json", "none"]


@dataclass
class Behaviour:
    """How the server behaves.

    Attributes:
        key: The only key that it takes; any where empty.
        models: The only models that it has; any where empty.
        structured: What of structured output it knows.
        latency_s: How long each reply takes.
        embeddings: Whether it has embeddings.
    """

    key: str = ""
    models: frozenset[str] = frozenset()
    structured: Structured = "schema"
    latency_s: float = 0.0
    embeddings: bool = True


@dataclass
class Counts:
    """What was asked and answered.

    Attributes:
        conversations: How often each conversation got its whole reply.
        waiting: Requests that are held back now.
        last: Path, query and headers of the last request; keys are not among them.
    """

    requests: int = 0
    replies: int = 0
    embeddings: int = 0
    waiting: int = 0
    jobs: Counter[str] = field(default_factory=Counter)
    conversations: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    most_at_once: int = 0
    at_once: int = 0
    problems: list[str] = field(default_factory=list)
    last: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "requests": self.requests,
            "replies": self.replies,
            "embeddings": self.embeddings,
            "waiting": self.waiting,
            "at_once": self.at_once,
            "most_at_once": self.most_at_once,
            "jobs": dict(self.jobs),
            "faults": dict(self.faults),
            "answered_again": sum(times > 1 for times in self.conversations.values()),
            "problems": self.problems[-50:],
            "last": self.last,
        }


class Refusal(Exception):
    """The server answers with an error."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None, retry_after_s: float = 0
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.retry_after_s = status, code, param, retry_after_s


class Double:
    """A model server without a model.

    Args:
        script: What it answers.
        cues: What goes wrong.
        behaviour: How it behaves.
    """

    def __init__(self, script: scripts.Scripts, cues: faults.Cues, behaviour: Behaviour) -> None:
        self.counts = Counts()
        self._script, self._cues, self._behaviour = script, cues, behaviour
        azure = "/openai/deployments/{deployment}"
        self.app = applications.Starlette(
            routes=[
                *(routing.Route(f"{at}/chat/completions", self._complete, methods=["POST"]) for at in ("/v1", azure)),
                *(routing.Route(f"{at}/embeddings", self._embed, methods=["POST"]) for at in ("/v1", azure)),
                routing.Route("/v1/models", self._models),
                routing.Route("/stats", self._stats),
                routing.Route("/cues", self._cue, methods=["POST"]),
            ],
            exception_handlers={Refusal: _refused},
        )

    async def _complete(self, request: requests.Request) -> responses.Response:
        body = await self._admitted(request)
        job = jobs.recognised(body.get("messages") or [])
        counts = self.counts
        counts.requests += 1
        counts.jobs[job.kind] += 1
        counts.at_once += 1
        counts.most_at_once = max(counts.most_at_once, counts.at_once)
        if job.round > 1 and not job.partial:
            counts.problems.append(str(body["messages"][-1]["content"])[:2000])
        try:
            return await self._answered(request, body, job)
        finally:
            counts.at_once -= 1

    async def _answered(self, request: requests.Request, body: dict[str, Any], job: jobs.Job) -> responses.Response:
        await asyncio.sleep(self._behaviour.latency_s)
        cue = self._cues.take(job.kind, job.title, job.number)
        heard = True
        if cue is not None:
            self.counts.faults[cue.fault] += 1
            if cue.fault == "slow":
                heard = await self._held(request, cue.delay_s)
            elif cue.fault not in ("reply", "truncated"):
                return _failed(cue)
        self._check_form(body)
        text = cue.text if cue and cue.fault == "reply" else self._script.answer(job)
        finish = "stop"
        if cue and cue.fault == "truncated":
            text, finish = text[: len(text) // 2], "length"
        if heard:
            self.counts.replies += 1
            self.counts.conversations[_fingerprint(body)] += 1
        return responses.JSONResponse(_completion(body, text, finish))

    async def _held(self, request: requests.Request, delay_s: float) -> bool:
        """Holds a request back, and says whether somebody still waits for its reply after that time."""
        self.counts.waiting += 1
        try:
            async with asyncio.timeout(delay_s):
                while (await request.receive())["type"] != "http.disconnect":
                    pass
        except TimeoutError:
            return True
        finally:
            self.counts.waiting -= 1
        return False

    async def _embed(self, request: requests.Request) -> responses.Response:
        body = await self._admitted(request)
        if not self._behaviour.embeddings:
            raise Refusal(404, "This server has no embeddings.", code="not_found")
        texts = body["input"] if isinstance(body.get("input"), list) else [str(body.get("input"))]
        self.counts.embeddings += len(texts)
        data = [
            {"object": "embedding", "index": number, "embedding": scripted.vector(text)}
            for number, text in enumerate(texts)
        ]
        used = sum(scripted.tokens(len(text)) for text in texts)
        usage = {"prompt_tokens": used, "total_tokens": used}
        return responses.JSONResponse({"object": "list", "data": data, "model": body.get("model"), "usage": usage})

    async def _admitted(self, request: requests.Request) -> dict[str, Any]:
        """The body of a request with a good key, for a model that there is."""
        headers = dict(request.headers)
        shown = headers.pop("authorization", "").removeprefix("Bearer ")
        shown = headers.pop("api-key", "") or shown
        self.counts.last = {"path": request.url.path, "query": dict(request.query_params), "headers": headers}
        self.counts.last["key_in"] = "api-key" if "api-key" in request.headers else "authorization"
        if self._behaviour.key and shown != self._behaviour.key:
            # Repeats the key, as some servers do: clients have to keep it out of what they print.
            raise Refusal(401, f"Incorrect API key provided: {shown}.", code="invalid_api_key")
        try:
            body: dict[str, Any] = await request.json()
        except ValueError as exc:
            raise Refusal(400, f"The body is no JSON: {exc}") from exc
        wanted = request.path_params.get("deployment") or body.get("model")
        if self._behaviour.models and wanted not in self._behaviour.models:
            raise Refusal(404, f"The model `{wanted}` does not exist.", code="model_not_found")
        if body.get("stream"):
            raise Refusal(400, "This server does not stream.", param="stream")
        return body

    def _check_form(self, body: dict[str, Any]) -> None:
        kind = (body.get("response_format") or {}).get("type", "text")
        known = {"schema": ("json_schema", "json_object", "text"), "json": ("json_object", "text"), "none": ("text",)}
        if kind not in known[self._behaviour.structured]:
            raise Refusal(400, f"response_format of type {kind} is not supported.", param="response_format")

    async def _models(self, _: requests.Request) -> responses.Response:
        listed = sorted(self._behaviour.models) or ["scripted"]
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "awm"} for name in listed]
        return responses.JSONResponse({"object": "list", "data": data})

    async def _stats(self, _: requests.Request) -> responses.Response:
        return responses.JSONResponse(self.counts.document())

    async def _cue(self, request: requests.Request) -> responses.Response:
        try:
            cue = faults.Cue.model_validate(await request.json())
        except (pydantic.ValidationError, ValueError) as exc:
            raise Refusal(400, f"no cue: {exc}") from exc
        self._cues.add(cue)
        return responses.JSONResponse({"added": cue.model_dump()})


class _Cut(responses.Response):
    """Begins an answer and ends the connection in the middle of it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        headers = [(b"content-type", b"application/json"), (b"content-length", b"4096")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"id": "cut', "more_body": True})


def _failed(cue: faults.Cue) -> responses.Response:
    if cue.fault == "cut":
        return _Cut()
    if cue.fault == "malformed":
        return responses.Response('{"id": "x", "choices": [', media_type="application/json")
    raise {
        "429": Refusal(429, "Rate limit reached.", code="rate_limit_exceeded", retry_after_s=cue.retry_after_s),
        "quota": Refusal(429, "You exceeded your current quota.", code="insufficient_quota"),
        "500": Refusal(500, "The server had an error."),
        "503": Refusal(503, "The server is overloaded.", retry_after_s=cue.retry_after_s),
        "401": Refusal(401, "Incorrect API key provided.", code="invalid_api_key"),
        "404": Refusal(404, "The model does not exist.", code="model_not_found"),
    }[cue.fault]


async def _refused(_: requests.Request, exc: Exception) -> responses.Response:
    assert isinstance(exc, Refusal)
    error = {"message": str(exc), "type": "invalid_request_error", "param": exc.param, "code": exc.code}
    headers = {"retry-after": f"{exc.retry_after_s:g}"} if exc.retry_after_s else {}
    return responses.JSONResponse({"error": error}, status_code=exc.status, headers=headers)


def _fingerprint(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode(errors="surrogatepass")).hexdigest()


def _completion(body: dict[str, Any], text: str, finish: str) -> dict[str, Any]:
    asked = sum(len(str(each.get("content") or "")) for each in body.get("messages") or [])
    spent, made = scripted.tokens(asked), scripted.tokens(len(text))
    return {
        "id": f"chatcmpl-{_fingerprint(body)[:12]}",
        "object": "chat.completion",
        "created": 0,
        "model": body.get("model") or "scripted",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish, "logprobs": None}
        ],
        "usage": {"prompt_tokens": spent, "completion_tokens": made, "total_tokens": spent + made},
    }
