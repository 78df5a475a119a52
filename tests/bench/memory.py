"""What episodes take: memory of the processes (PSS)."""

from collections.abc import Iterator
from pathlib import Path

from bench import report, serving, worlds

_FIRST = (report.Limit("mb", "below", 120.0),)
_EACH = (report.Limit("mb_each", "below", 0.6),)
_ALL = (report.Limit("mb", "below", 800.0),)


def measure(world: worlds.World, state: Path, counts: tuple[int, ...]) -> Iterator[report.Row]:
    """The figures of one scenario with ever more open episodes; all that were opened made a few calls.

    Databases are on files that no process maps, so that PSS is what an episode takes beside its database.
    """
    with serving.serving(world.bundle.root, state) as instance:
        _use(instance, world, instance.open(count=1))
        first = instance.pss_mb("instance")
        yield report.Row(world.name, "memory: the scenario's process", {"mb": first}, _FIRST)
        yield report.Row(world.name, "memory: with its keeper and judge", {"mb": instance.pss_mb()})
        opened = 0
        for count in counts:
            batch = instance.open(count=count - opened)
            opened = count
            _use(instance, world, batch)
            each = {"mb_each": (instance.pss_mb("instance") - first) / opened, "kb_database": _kb_database(state)}
            yield report.Row(world.name, f"memory: each of {count} episodes", each, _EACH)
        yield report.Row(world.name, f"memory: all processes with {opened} episodes", {"mb": instance.pss_mb()}, _ALL)


def _use(instance: serving.Instance, world: worlds.World, episodes: list[str]) -> None:
    """A few calls in each; most memory of an episode is its connection's, which the first call opens."""
    for episode in episodes:
        for tool in world.reading:
            instance.call(episode, tool)


def _kb_database(state: Path) -> float:
    return next(state.glob("*/seed.db")).stat().st_size / 1000
