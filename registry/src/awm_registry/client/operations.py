"""The control plane's routes as values: what to send, and how the answer is read."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import httpx
import pydantic

from awm_runtime import errors
from awm_runtime.contract import episodes, verdicts

_Answer = TypeVar("_Answer")
_Model = TypeVar("_Model", bound=pydantic.BaseModel)
_CHANGES = pydantic.TypeAdapter(dict[str, Any])


class _Listed(pydantic.BaseModel):
    episodes: list[episodes.EpisodeView]


@dataclass(frozen=True, slots=True)
class Operation(Generic[_Answer]):
    """One request to a control plane.

    Attributes:
        read: What a good answer holds.
    """

    method: str
    path: str
    read: Callable[[httpx.Response], _Answer]
    content: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def answer(self, response: httpx.Response) -> _Answer:
        """What an answer holds.

        Raises:
            PermanentError: It is not what a control plane answers.
        """
        try:
            return self.read(response)
        except (pydantic.ValidationError, json.JSONDecodeError) as exc:
            raise errors.PermanentError(f"{response.request.url} does not answer as a control plane does") from exc

    def request(self) -> dict[str, Any]:
        """What httpx sends."""
        headers = {"Content-Type": "application/json", **self.headers} if self.content is not None else self.headers
        return {
            "method": self.method,
            "url": self.path,
            "content": self.content,
            "params": dict(self.params),
            "headers": dict(headers),
        }


def fetch(path: str, kind: type[_Model], params: Mapping[str, str]) -> Operation[_Model]:
    """Anything that is answered in JSON."""
    return Operation("GET", path, _reading(kind), params=params)


def open_batch(wanted: pydantic.BaseModel, *, key: str | None = None) -> Operation[episodes.OpenResponse]:
    """Opens episodes; a router opens nothing twice for the same key."""
    headers = {"Idempotency-Key": key} if key is not None else {}
    return Operation("POST", "/v1/episodes", _reading(episodes.OpenResponse), _json(wanted), headers=headers)


def listing() -> Operation[list[episodes.EpisodeView]]:
    """All episodes."""
    return Operation("GET", "/v1/episodes", lambda response: _reading(_Listed)(response).episodes)


def look(id: str) -> Operation[episodes.EpisodeView]:
    """One episode."""
    return Operation("GET", f"/v1/episodes/{id}", _reading(episodes.EpisodeView))


def reset(id: str, seed: int | None) -> Operation[episodes.EpisodeView]:
    """Puts an episode back to the seed."""
    wanted = _json(episodes.ResetRequest(seed=seed))
    return Operation("POST", f"/v1/episodes/{id}/reset", _reading(episodes.EpisodeView), wanted)


def heartbeat(id: str) -> Operation[episodes.Lease]:
    """Renews an episode's lease."""
    return Operation("POST", f"/v1/episodes/{id}/heartbeat", _reading(episodes.Lease))


def verify(id: str, wanted: verdicts.VerifyRequest) -> Operation[verdicts.Verdict]:
    """Judges an episode as it is now."""
    return Operation("POST", f"/v1/episodes/{id}/verify", _reading(verdicts.Verdict), _json(wanted))


def diff(id: str) -> Operation[dict[str, Any]]:
    """The rows that changed since the seed, by table."""
    return Operation("GET", f"/v1/episodes/{id}/diff", lambda response: _CHANGES.validate_json(response.content))


def trace(id: str) -> Operation[list[dict[str, Any]]]:
    """The call log."""
    return Operation("GET", f"/v1/episodes/{id}/trace", _lines)


def snapshot(id: str, which: str) -> Operation[bytes]:
    """The episode's SQLite file."""
    return Operation("GET", f"/v1/episodes/{id}/snapshot", lambda response: response.content, params={"which": which})


def close(id: str) -> Operation[None]:
    """Ends an episode; twice is fine."""
    return Operation("DELETE", f"/v1/episodes/{id}", lambda _: None)


def _reading(kind: type[_Model]) -> Callable[[httpx.Response], _Model]:
    return lambda response: kind.model_validate_json(response.content)


def _json(body: pydantic.BaseModel) -> str:
    return body.model_dump_json(by_alias=True, exclude_none=True)


def _lines(response: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line) for line in response.content.splitlines()]
