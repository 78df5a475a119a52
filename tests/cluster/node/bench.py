"""What waking and regenerating take on a real node; `cluster.bench` runs this."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cluster.node import worlds
from cluster.testbed import nodes

Note = Callable[[str, float, str], None]
_ROUNDS = 3
_EXAMPLES = ("library", "clinic")


def measure(programs: Path, images: Path, note: Note) -> None:
    """Measures on a cluster of its own.

    Args:
        programs: Those of the test bed.
        images: OCI layouts of `awm-runtime` and `awm-control`.
        note: Takes what was measured, the figure and its unit.
    """
    with tempfile.TemporaryDirectory(prefix="awm-bench-") as name:
        folder = Path(name)
        begun = time.monotonic()
        with nodes.real(programs, folder / "cluster") as cluster, cluster.namespaces.network():
            note("a cluster with a real node up", time.monotonic() - begun, "s")
            world = worlds.World(cluster, programs / "helm4", folder, images)
            bundles = [worlds.EXAMPLES / each for each in _EXAMPLES]
            world.rows = {each["name"]: each for each in world.build(*bundles)}
            next_ = worlds.copied(bundles[0], folder / "next" / _EXAMPLES[0], generation=2)
            [changed] = world.build(next_)
            begun = time.monotonic()
            world.install()
            note("helm install until controller and router are ready", time.monotonic() - begun, "s")
            _measure(world, changed, note)


def _measure(world: worlds.World, changed: worlds.Row, note: Note) -> None:
    first, second = _EXAMPLES
    note("wake, nothing of the image on the node", _woken(world, first), "s")
    note("wake, the image's base on the node", _woken(world, second), "s")
    note("wake, the image on the node", statistics.median(_woken_again(world, second) for _ in range(_ROUNDS)), "s")
    _put_to_sleep(world, second)
    with world.trainer() as trainer:
        begun = time.monotonic()
        worlds.opened(trainer, second)
        note("an episode of a sleeping scenario opened through the router", time.monotonic() - begun, "s")
    begun = time.monotonic()
    world.change(first, changed)
    world.wait("the next generation", lambda: world.environment(first)["status"]["bundleGeneration"] == 2)
    note("regeneration verified and serving, from the patch on", time.monotonic() - begun, "s")


def _woken(world: worlds.World, scenario: str) -> float:
    """How many seconds waking takes until the environment is ready, which is to say verified."""
    begun = time.monotonic()
    world.scale(scenario, 1)
    world.wait_for(scenario, "ready")
    return time.monotonic() - begun


def _woken_again(world: worlds.World, scenario: str) -> float:
    _put_to_sleep(world, scenario)
    return _woken(world, scenario)


def _put_to_sleep(world: worlds.World, scenario: str) -> None:
    """Until nothing of it is left: a pod that ends takes processor time of the next."""
    world.scale(scenario, 0)
    selected = f"--selector=awm.dev/environment={scenario}"
    world.wait(f"the end of {scenario}", lambda: not world.get("deployments,pods", world.team, selected))
