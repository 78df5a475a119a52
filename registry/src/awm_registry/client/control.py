"""The control plane's client: episodes and verdicts."""

import json
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import pydantic

from awm_registry.client import exchanges
from awm_runtime import errors
from awm_runtime.contract import episodes, problems, verdicts

_Answer = TypeVar("_Answer")
_Model = TypeVar("_Model", bound=pydantic.BaseModel)
_CHANGES = pydantic.TypeAdapter(dict[str, Any])


class ControlClient:
    """Opens, looks at, resets, verifies and closes episodes.

    What is refused is a `ProblemError`, which says whose fault it is; no answer is `Unreachable`.

    Args:
        url: The control plane's, without a path.
        token: Its token, where it asks for one.
        timeout_s: How long an answer is waited for; verifiers take their time.
        transport: How requests are sent; for tests.

    Raises:
        PermanentError: The URL is none.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(
            base_url=exchanges.checked(url), headers=headers, timeout=timeout_s, transport=transport
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.close()

    def open(self, **item: Any) -> list[episodes.EpisodeView]:
        """Opens episodes of one item: `task`, `seed`, `count`, `group`, or `source` to fork from.

        Raises:
            ProblemError: It was refused.
        """
        answer = self.open_batch(episodes.OpenRequest(episodes=[episodes.EpisodeSpec(**item)]))
        if answer.rejected:
            raise problems.ProblemError.of(answer.rejected[0].error)
        return answer.episodes

    def open_batch(self, wanted: episodes.OpenRequest) -> episodes.OpenResponse:
        """Opens a batch; items that were refused are named in the answer."""
        return self._ask("POST", "/v1/episodes", episodes.OpenResponse, wanted)

    def get(self, id: str) -> episodes.EpisodeView:
        """One episode."""
        return self._ask("GET", f"/v1/episodes/{id}", episodes.EpisodeView)

    def reset(self, id: str, *, seed: int | None = None) -> episodes.EpisodeView:
        """Puts an episode back to the seed."""
        return self._ask("POST", f"/v1/episodes/{id}/reset", episodes.EpisodeView, episodes.ResetRequest(seed=seed))

    def heartbeat(self, id: str) -> episodes.Lease:
        """Renews an episode's lease."""
        return self._ask("POST", f"/v1/episodes/{id}/heartbeat", episodes.Lease)

    def verify(self, id: str, wanted: verdicts.VerifyRequest | None = None) -> verdicts.Verdict:
        """Judges an episode as it is now."""
        return self._ask("POST", f"/v1/episodes/{id}/verify", verdicts.Verdict, wanted or verdicts.VerifyRequest())

    def diff(self, id: str) -> dict[str, Any]:
        """The rows that changed since the seed, by table."""
        response = exchanges.send(self._client, "GET", f"/v1/episodes/{id}/diff")
        return _parsed(_CHANGES.validate_json, response)

    def trace(self, id: str) -> list[dict[str, Any]]:
        """The call log."""
        response = exchanges.send(self._client, "GET", f"/v1/episodes/{id}/trace")
        return [json.loads(line) for line in response.content.splitlines()]

    def snapshot(self, id: str, which: str = "current") -> bytes:
        """The episode's SQLite file."""
        return exchanges.send(self._client, "GET", f"/v1/episodes/{id}/snapshot", params={"which": which}).content

    def close(self, id: str) -> None:
        """Ends an episode; twice is fine."""
        exchanges.send(self._client, "DELETE", f"/v1/episodes/{id}")

    def _ask(self, method: str, path: str, answer: type[_Model], body: pydantic.BaseModel | None = None) -> _Model:
        content = body.model_dump_json(by_alias=True, exclude_none=True) if body is not None else None
        response = exchanges.send(
            self._client, method, path, content=content, headers={"Content-Type": "application/json"}
        )
        return _parsed(answer.model_validate_json, response)


def _parsed(parse: Callable[[bytes], _Answer], response: httpx.Response) -> _Answer:
    """What an answer holds.

    Raises:
        PermanentError: It is not what a control plane answers.
    """
    try:
        return parse(response.content)
    except pydantic.ValidationError as exc:
        raise errors.PermanentError(f"{response.request.url} does not answer as a control plane does") from exc
