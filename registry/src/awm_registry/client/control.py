"""The routes of a control plane, one method each, for programs that hold episode ids."""

from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from awm_registry.client import exchanges, operations
from awm_runtime.contract import episodes, problems, verdicts

_Answer = TypeVar("_Answer")


class ControlClient:
    """Opens, looks at, resets, verifies and closes episodes, of a router or of one instance.

    What is refused is a `ProblemError`, which says whose fault it is; no answer is `Unreachable`.

    Args:
        url: The control plane's, without a path but a team's.
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
        self._client = httpx.Client(
            base_url=exchanges.checked(url),
            headers=exchanges.bearer(token),
            timeout=timeout_s,
            limits=exchanges.LIMITS,
            transport=transport,
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

    def open_batch(
        self, wanted: episodes.OpenRequest | episodes.FleetOpenRequest, *, key: str | None = None
    ) -> episodes.OpenResponse:
        """Opens a batch; items that were refused are named in the answer.

        Args:
            wanted: The items.
            key: An idempotency key: sent again with it, the same batch is the same episodes. For routers.
        """
        return self.do(operations.open_batch(wanted, key=key))

    def listing(self) -> list[episodes.EpisodeView]:
        """All episodes."""
        return self.do(operations.listing())

    def get(self, id: str) -> episodes.EpisodeView:
        """One episode."""
        return self.do(operations.look(id))

    def reset(self, id: str, *, seed: int | None = None) -> episodes.EpisodeView:
        """Puts an episode back to the seed."""
        return self.do(operations.reset(id, seed))

    def heartbeat(self, id: str) -> episodes.Lease:
        """Renews an episode's lease."""
        return self.do(operations.heartbeat(id))

    def verify(self, id: str, wanted: verdicts.VerifyRequest | None = None) -> verdicts.Verdict:
        """Judges an episode as it is now."""
        return self.do(operations.verify(id, wanted or verdicts.VerifyRequest()))

    def diff(self, id: str) -> dict[str, Any]:
        """The rows that changed since the seed, by table."""
        return self.do(operations.diff(id))

    def trace(self, id: str) -> list[dict[str, Any]]:
        """The call log."""
        return self.do(operations.trace(id))

    def snapshot(self, id: str, which: str = "current") -> bytes:
        """The episode's SQLite file."""
        return self.do(operations.snapshot(id, which))

    def close(self, id: str) -> None:
        """Ends an episode; twice is fine."""
        self.do(operations.close(id))

    def do(self, operation: operations.Operation[_Answer]) -> _Answer:
        """Sends a request of another module's making."""
        response = exchanges.ask(self._client, **operation.request())
        return operation.answer(exchanges.good(response))
