"""What the life of an episode costs through the control plane: open, reset, fork, diff, verify."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from awm_generator import oracles
from bench import report, serving, worlds

_LIFE_LIMITS = (report.Limit("p50_ms", "below", 3.0), report.Limit("p99_ms", "below", 10.0))
_LIMITS = {"open": _LIFE_LIMITS, "reset": _LIFE_LIMITS}


def measure(world: worlds.World, state: Path, lives: int) -> Iterator[report.Row]:
    """The figures of one scenario, over a number of episodes that each play a task."""
    taken: dict[str, list[float]] = defaultdict(list)
    with serving.serving(world.bundle.root, state) as instance:
        for _ in range(lives):
            _live(instance, world, taken)
    for what, seconds in taken.items():
        yield report.Row(world.name, f"episode: {what}", report.percentiles(seconds), _LIMITS.get(what, ()))


def _live(instance: serving.Instance, world: worlds.World, taken: dict[str, list[float]]) -> None:
    """One episode from open to close."""
    task = world.judged_task()

    def timed(what: str, act: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = act()
        taken[what].append(time.perf_counter() - began)
        return result

    def control(method: str, path: str, body: Any = None) -> Callable[[], Any]:
        return lambda: instance.control.request(method, path, body)

    [episode] = timed("open", lambda: instance.open(task=task.id))
    answer = _play(instance, world, episode)
    place = f"/v1/episodes/{episode}"
    [fork] = timed("fork", lambda: instance.open(**{"from": episode}))
    timed("diff", control("GET", f"{place}/diff"))
    verdict = timed("verify", control("POST", f"{place}/verify", {"answer": answer}))
    if verdict["outcome"] == "abstained":
        raise RuntimeError(f"the verifier of task {task.id} failed: {verdict}")
    timed("reset", control("POST", f"{place}/reset"))
    timed("close", control("DELETE", place))
    instance.control.request("DELETE", f"/v1/episodes/{fork}")


def _play(instance: serving.Instance, world: worlds.World, episode: str) -> str | None:
    """Solves the task where an oracle says how; else only reads, which leaves a connection open as well."""
    oracle = world.judged_task().oracle
    if oracle is None:
        instance.call(episode, world.listing)
        return None
    return oracles.replay(oracle, lambda tool, arguments: instance.call(episode, tool, arguments)).answer
