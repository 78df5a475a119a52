"""The same fleet for programs without an event loop: one runs in a thread of its own, and renews the leases there."""

import contextlib
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, TypedDict, TypeVar, Unpack

import anyio.from_thread
import httpx

from awm_registry.client import batches, fleet, messages
from awm_registry.client.episodes import Episode
from awm_registry.discovery import views
from awm_runtime.contract import episodes as contract
from awm_runtime.contract import verdicts

_Answer = TypeVar("_Answer")
_Run = Callable[[Coroutine[Any, Any, Any]], Any]


class FleetOptions(TypedDict, total=False):
    """The arguments of `Fleet` beside the URL."""

    token: str | None
    timeout_s: float
    patience_s: float
    heartbeats: bool
    transport: httpx.AsyncBaseTransport | None


class BatchOptions(TypedDict, total=False):
    """The arguments of `Fleet.open_batch` beside the items."""

    ttl_s: float
    retain_s: float


class OpenOptions(BatchOptions, total=False):
    """The arguments of `Fleet.open` beside the scenario."""

    task: str | None
    seed: int | None
    generation: int | None
    source: str | None


class VerifyOptions(TypedDict, total=False):
    """The arguments of `Episode.verify` beside the answer."""

    task: str | None
    mode: verdicts.Mode
    partial_reward: float
    on_environment_error: verdicts.OnEnvironmentError


class _Closing:
    """Closes itself at the end of a `with` block."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        raise NotImplementedError


class SyncEpisode(_Closing):
    """`Episode`, waiting for each answer."""

    def __init__(self, run: _Run, episode: Episode) -> None:
        self._run = run
        self._episode = episode

    def __repr__(self) -> str:
        return f"Sync{self._episode!r}"

    @property
    def view(self) -> contract.EpisodeView:
        """What the control plane last said of it."""
        return self._episode.view

    @property
    def id(self) -> contract.EpisodeId:
        """Its id."""
        return self._episode.id

    @property
    def mcp_url(self) -> str:
        """Where agents find its tools."""
        return self._episode.mcp_url

    @property
    def token(self) -> str | None:
        """What opens `mcp_url`; None where no token is asked for."""
        return self._episode.token

    @property
    def instruction(self) -> str | None:
        """What the agent is to do."""
        return self._episode.instruction

    def tools(self) -> list[dict[str, Any]]:
        """See `Episode.tools`."""
        listed: list[dict[str, Any]] = self._run(self._episode.tools())
        return listed

    def call(self, tool: str, arguments: dict[str, Any] | None = None) -> messages.Reply:
        """See `Episode.call`."""
        reply: messages.Reply = self._run(self._episode.call(tool, arguments))
        return reply

    def verify(self, answer: str | None = None, **options: Unpack[VerifyOptions]) -> verdicts.Verdict:
        """See `Episode.verify`, whose options are taken."""
        verdict: verdicts.Verdict = self._run(self._episode.verify(answer, **options))
        return verdict

    def reset(self, *, seed: int | None = None) -> None:
        """See `Episode.reset`."""
        self._run(self._episode.reset(seed=seed))

    def look(self) -> contract.EpisodeView:
        """See `Episode.look`."""
        view: contract.EpisodeView = self._run(self._episode.look())
        return view

    def diff(self) -> dict[str, Any]:
        """See `Episode.diff`."""
        changes: dict[str, Any] = self._run(self._episode.diff())
        return changes

    def trace(self) -> list[dict[str, Any]]:
        """See `Episode.trace`."""
        calls: list[dict[str, Any]] = self._run(self._episode.trace())
        return calls

    def snapshot(self, which: Literal["initial", "current"] = "current") -> bytes:
        """See `Episode.snapshot`."""
        content: bytes = self._run(self._episode.snapshot(which))
        return content

    def close(self) -> None:
        """See `Episode.close`."""
        self._run(self._episode.close())


class SyncBatch(_Closing):
    """`Batch`, waiting for each answer."""

    def __init__(self, run: _Run, batch: fleet.Batch) -> None:
        self._run = run
        self._batch = batch
        self.episodes = [SyncEpisode(run, each) for each in batch.episodes]
        self.refused = batch.refused

    def close(self) -> None:
        """See `Batch.close`."""
        self._run(self._batch.close())


class SyncFleet:
    """`Fleet`, waiting for each answer. Takes the same arguments; threads may share it."""

    def __init__(self, url: str, **options: Unpack[FleetOptions]) -> None:
        self._fleet = fleet.Fleet(url, **options)
        self._portal: anyio.from_thread.BlockingPortal | None = None
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opened:
            self._portal = opened.enter_context(anyio.from_thread.start_blocking_portal())
            opened.enter_context(self._portal.wrap_async_context_manager(self._fleet))
            self._open = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open.close()
        self._portal = None

    def open(self, scenario: str | None = None, **options: Unpack[OpenOptions]) -> SyncEpisode:
        """See `Fleet.open`, whose options are taken."""
        return SyncEpisode(self._run, self._run(self._fleet.open(scenario, **options)))

    def open_batch(
        self, items: Iterable[batches.Item | Mapping[str, Any]], **options: Unpack[BatchOptions]
    ) -> SyncBatch:
        """See `Fleet.open_batch`, whose options are taken."""
        return SyncBatch(self._run, self._run(self._fleet.open_batch(items, **options)))

    def get(self, id: str) -> SyncEpisode:
        """See `Fleet.get`."""
        return SyncEpisode(self._run, self._run(self._fleet.get(id)))

    def listing(self) -> Sequence[contract.EpisodeView]:
        """See `Fleet.listing`."""
        return self._run(self._fleet.listing())

    def scenarios(self, **wanted: str) -> Iterator[views.ScenarioView]:
        """See `Fleet.scenarios`; all pages are fetched first."""
        return iter(self._run(_all(self._fleet.scenarios(**wanted))))

    def tasks(self, **wanted: str) -> Iterator[views.TaskView]:
        """See `Fleet.tasks`; all pages are fetched first."""
        return iter(self._run(_all(self._fleet.tasks(**wanted))))

    def _run(self, wanted: Coroutine[Any, Any, _Answer]) -> _Answer:
        if self._portal is None:
            wanted.close()
            raise RuntimeError("enter the fleet first: with SyncFleet(...) as fleet")

        async def wait() -> _Answer:
            return await wanted

        return self._portal.call(wait)


async def _all(pages: Any) -> list[Any]:
    return [each async for each in pages]
