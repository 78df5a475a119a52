"""A fleet in the hands of a trainer: episodes opened by the batch, kept alive, closed at the end."""

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import httpx
from anyio import abc

from awm_registry import errors
from awm_registry.client import batches, exchanges, lanes, leases, messages, operations
from awm_registry.client.episodes import Episode
from awm_registry.discovery import views
from awm_runtime.contract import episodes as contract
from awm_runtime.contract import problems
from awm_runtime.errors import AwmError

_Answer = TypeVar("_Answer")
_Page = TypeVar("_Page", views.ScenarioPage, views.TaskPage)

_CLOSING_S = 30.0
_CLOSING_AT_ONCE = 64
_GONE = (404, 410)
_PAGE = 500


class Batch:
    """What a batch came to. As a context manager it closes its episodes at the end.

    Attributes:
        episodes: Those that were opened, in the order of the items, the copies of one item side by side.
        refused: The copies that were not, each as an item by itself.
    """

    def __init__(self, fleet: "Fleet", episodes: Sequence[Episode], refused: Sequence[batches.Refusal]) -> None:
        self._fleet = fleet
        self.episodes = list(episodes)
        self.refused = list(refused)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes all of them; those that are gone already are fine."""
        await self._fleet.close_all(self.episodes)


class Fleet:
    """A client of a router, or of one instance's control plane. To be entered before it is used.

    Args:
        url: Without a path but a team's.
        token: A control token, where one is asked for.
        timeout_s: How long an answer is waited for; verifiers take their time.
        patience_s: How long opening may take in all while the fleet says that it is full or starting.
        heartbeats: Whether the leases of what is opened here are renewed in the background.
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
        patience_s: float = 300.0,
        heartbeats: bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = exchanges.checked(url).rstrip("/")
        self._token = token
        self._patience_s = patience_s
        self._heartbeats = heartbeats
        self._lanes = lanes.Lanes(timeout_s=timeout_s, transport=transport)
        self._tasks: abc.TaskGroup | None = None
        self._leases: leases.Leases | None = None

    async def __aenter__(self) -> Self:
        await self._lanes.__aenter__()
        self._tasks = await anyio.create_task_group().__aenter__()
        self._leases = leases.Leases(lambda id: self.do(operations.heartbeat(id)))
        if self._heartbeats:
            self._tasks.start_soon(self._leases.keep)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        tasks, self._tasks, self._leases = self._tasks, None, None
        if tasks is not None:
            tasks.cancel_scope.cancel()
            await tasks.__aexit__(None, None, None)  # not the block's own error, which would come out in a group
        await self._lanes.__aexit__(kind, value, traceback)

    async def open(
        self,
        scenario: str | None = None,
        *,
        task: str | None = None,
        seed: int | None = None,
        generation: int | None = None,
        source: str | None = None,
        ttl_s: float = contract.DEFAULT_TTL_S,
        retain_s: float = contract.DEFAULT_RETAIN_S,
    ) -> Episode:
        """Opens one episode.

        Args:
            scenario: Of which scenario; a single instance needs no name.
            task: For which task.
            seed: Seeds the randomness that scenario code sees; drawn when absent.
            generation: Only of this generation.
            source: The id of an episode to fork.
            ttl_s: How long it lives without a heartbeat.
            retain_s: How long it can be read after its end.

        Raises:
            CapacityError: The fleet is full, and stayed so for `patience_s`.
            UnknownScenario: There is none of that name.
            ProblemError: It was refused for another reason, which says whose fault it is.
            Unreachable: Nobody answers.
        """
        item = batches.Item(scenario=scenario, task=task, seed=seed, generation=generation, source=source)
        batch = await self.open_batch([item], ttl_s=ttl_s, retain_s=retain_s)
        if batch.refused:
            raise errors.of_problem(batch.refused[0].error)
        return batch.episodes[0]

    async def open_batch(
        self,
        items: Iterable[batches.Item | Mapping[str, Any]],
        *,
        ttl_s: float = contract.DEFAULT_TTL_S,
        retain_s: float = contract.DEFAULT_RETAIN_S,
    ) -> Batch:
        """Opens many episodes. What the fleet has no room for yet is asked for again, when it says so.

        Raises:
            CapacityError: The fleet as a whole is full, and stayed so for `patience_s`.
            Unreachable: Nobody answers. What was opened meanwhile ends with its lease.
            ValidationError: An item makes no sense.
        """
        held = self._entered()
        opening = batches.Opening(items, ttl_s=ttl_s, retain_s=retain_s)
        deadline = anyio.current_time() + self._patience_s
        try:
            while opening.left:
                wait_s = await self._ask_for(opening)
                for view in opening.fresh():
                    held.hold(view.id, ttl_s)
                if opening.left and anyio.current_time() + wait_s > deadline:
                    opening.give_up()
                await anyio.sleep(wait_s if opening.left else 0)
        except BaseException:
            with anyio.CancelScope(shield=True), anyio.move_on_after(_CLOSING_S), contextlib.suppress(AwmError):
                await self.close_all(Episode(self, view) for view in opening.opened())
            raise
        return Batch(self, [Episode(self, view) for view in opening.opened()], opening.refusals())

    async def get(self, id: str) -> Episode:
        """An episode that somebody opened. Its lease is theirs."""
        return Episode(self, await self.do(operations.look(id)))

    async def listing(self) -> Sequence[contract.EpisodeView]:
        """All episodes of the fleet's instances that are awake."""
        return await self.do(operations.listing())

    def scenarios(self, **wanted: str) -> AsyncIterator[views.ScenarioView]:
        """The scenarios; `search`, `tier`, `tag`, `split` and `difficulty` narrow them down."""
        return self._pages("/v1/scenarios", views.ScenarioPage, "scenarios", wanted)

    def tasks(self, **wanted: str) -> AsyncIterator[views.TaskView]:
        """The tasks; `search`, `tier`, `tag`, `split` and `difficulty` narrow them down."""
        return self._pages("/v1/tasks", views.TaskPage, "tasks", wanted)

    async def close_all(self, episodes: Iterable[Episode]) -> None:
        """Closes episodes side by side; those that are gone already are fine.

        Raises:
            AwmError: One could not be closed; the others were, and it ends with its lease.
        """
        room = anyio.CapacityLimiter(_CLOSING_AT_ONCE)
        failures: list[AwmError] = []

        async def close(episode: Episode) -> None:
            async with room:
                try:
                    await episode.close()
                except AwmError as exc:
                    if not (isinstance(exc, problems.ProblemError) and exc.problem.status in _GONE):
                        failures.append(exc)

        async with anyio.create_task_group() as group:
            for episode in episodes:
                group.start_soon(close, episode)
        if failures:
            raise failures[0]

    async def do(self, operation: operations.Operation[_Answer]) -> _Answer:
        """Sends a request to the control plane."""
        request = operation.request()
        request["url"] = self._url + request["url"]
        request["headers"] |= exchanges.bearer(self._token)
        with exchanges.answering():
            response = await self._lanes.request(**request)
        return operation.answer(exchanges.good(response))

    async def say(self, url: str, token: str | None, message: dict[str, Any]) -> dict[str, Any]:
        """Posts to an MCP URL, with the agent's token, or with ours where the episode came without one."""
        headers = messages.HEADERS | exchanges.bearer(token or self._token)
        with exchanges.answering():
            response = await self._lanes.request(method="POST", url=url, json=message, headers=headers)
        return messages.result(response)

    def forget(self, id: str) -> None:
        """Renews an episode's lease no longer."""
        if self._leases is not None:
            self._leases.drop(id)

    def _entered(self) -> leases.Leases:
        if self._leases is None:
            raise RuntimeError("enter the fleet first: async with Fleet(...) as fleet")
        return self._leases

    async def _ask_for(self, opening: batches.Opening) -> float:
        """Asks once for what is left; returns how long to wait before the next time."""
        try:
            return opening.note(await self.do(opening.request()))
        except problems.ProblemError as exc:
            return opening.postpone(exc)
        except errors.Unreachable as exc:
            return opening.stumble(exc)

    async def _pages(self, path: str, kind: type[_Page], key: str, wanted: Mapping[str, str]) -> AsyncIterator[Any]:
        params = {**wanted, "limit": str(_PAGE)}
        while True:
            page = await self.do(operations.fetch(path, kind, params))
            for each in getattr(page, key):
                yield each
            if page.next_cursor is None:
                return
            params["cursor"] = page.next_cursor
