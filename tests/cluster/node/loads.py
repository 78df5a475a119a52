"""Episodes that are played all the time: what a rollout must not disturb."""

import collections
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from awm_registry import client
from awm_runtime import errors
from awm_runtime.contract import episodes, problems
from cluster.node import worlds

T = TypeVar("T")

EPISODES = 20
_CALLS = 16
_PAUSE_S = 0.25


@dataclass
class Seen:
    """What players saw.

    Attributes:
        faults: What failed, of whatever kind.
        repeated: Requests that were sent once more, because their connection ended without an answer.
        ended: How many episodes were played to their verdict, by the generation that they were opened on.
        calls: How many calls were answered.
    """

    faults: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    ended: "collections.Counter[int]" = field(default_factory=collections.Counter)
    calls: int = 0
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, what: str, exc: BaseException | str) -> None:
        with self._guard:
            self.faults.append(f"{time.strftime('%X')} {what}: {exc!r}")

    def call(self) -> None:
        with self._guard:
            self.calls += 1

    def end(self, generation: int) -> None:
        with self._guard:
            self.ended[generation] += 1


@contextlib.contextmanager
def played(world: worlds.World, scenario: str) -> Iterator[Seen]:
    """Twenty episodes at a time are opened, called, verified and closed through the router, until the block ends."""
    seen, over = Seen(), threading.Event()
    threads = [
        threading.Thread(target=_play, args=(world, scenario, seen, over), name=f"player-{number}")
        for number in range(EPISODES)
    ]
    for each in threads:
        each.start()
    try:
        yield seen
    finally:
        over.set()
        for each in threads:
            each.join()
        print(
            f"{seen.calls} calls; episodes by generation: {dict(seen.ended)}",
            *seen.faults[:20],
            *seen.repeated[:20],
            sep="\n",
        )


def _play(world: worlds.World, scenario: str, seen: Seen, over: threading.Event) -> None:
    with world.trainer() as trainer:
        while not over.is_set():
            try:
                _play_one(world, trainer, scenario, seen, over)
            except (errors.AwmError, AssertionError) as exc:
                seen.fault("an episode", exc)


def _play_one(
    world: worlds.World, trainer: client.ControlClient, scenario: str, seen: Seen, over: threading.Event
) -> None:
    episode = _opened(trainer, scenario, over)
    if episode is None:
        return
    with world.player(episode) as player:
        for _ in range(_CALLS):
            if over.wait(_PAUSE_S):
                break
            reply = _repeated(seen, lambda: player.call("list_my_loans", {}))
            if reply.is_error or not reply.data()["items"]:
                seen.fault("a call", reply.text)
            seen.call()
    verdict = _repeated(seen, lambda: trainer.verify(episode.id))
    found = _repeated(seen, lambda: trainer.get(episode.id))
    if verdict.outcome == "abstained" or found.generation != episode.generation:
        seen.fault("a verdict", f"{verdict.outcome} of generation {found.generation}, opened on {episode.generation}")
    _repeated(seen, lambda: trainer.close(episode.id))
    seen.end(episode.generation)


def _repeated(seen: Seen, act: Callable[[], T]) -> T:
    """What a request answers, sent twice if need be: these change nothing that a second one would change again."""
    try:
        return act()
    except client.Unreachable as exc:
        seen.repeated.append(str(exc))
        return act()


def _opened(trainer: client.ControlClient, scenario: str, over: threading.Event) -> episodes.EpisodeView | None:
    """An episode, opened with the patience that a fleet asks for; None when the block ends meanwhile."""
    while not over.is_set():
        try:
            return worlds.opened(trainer, scenario, task="third-renewal")[0]
        except problems.ProblemError as exc:
            if exc.retry_after_s is None:
                raise
            over.wait(exc.retry_after_s)
    return None
