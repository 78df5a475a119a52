"""Makes many scenarios: planned one after the other so that no two are alike, compiled several at a time, resumable."""

import contextlib
import dataclasses
import fcntl
import functools
import gc
import itertools
import multiprocessing
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path

from awm_generator.builtin import checking, errors, language, reading
from awm_generator.builtin.compiler import compiling, weaving, worlds
from awm_runtime import errors as runtime_errors
from awm_runtime.bundle import model, writing
from awm_runtime.bundle import reading as bundles

_ATTEMPTS = 60
_RETRIES = 4
_BATCH = 200
"""Scenarios after which the worker processes are replaced: a loaded app is never quite unloaded."""


@dataclass(frozen=True)
class Order:
    """One scenario to make; small, so that it travels to a worker.

    Attributes:
        file: The blueprint's file.
        provenance: What the bundle will say of where it comes from, by which a finished one is known again.
    """

    file: Path
    variant: int
    seed: int
    attempt: int
    name: str
    provenance: str


@dataclass(frozen=True)
class Made:
    """What became of an order.

    Attributes:
        path: The bundle's folder; None where it could not be made.
        compiles: How often it was compiled until it was right; 0 where it was there already.
        reason: Why there is none.
    """

    name: str
    path: Path | None
    counts: model.Counts | None = None
    compiles: int = 0
    reason: str = ""


def blueprints(families: Collection[str] = (), extra: Sequence[Path] = ()) -> dict[Path, language.Blueprint]:
    """The blueprints to make scenarios of: those named, or all; and files of the user's own, which are checked.

    Raises:
        BlueprintError: one is wrong.
        VarietyError: there is none of that name.
    """
    shipped = reading.shipped_blueprints()
    unknown = [name for name in families if name not in shipped]
    if unknown:
        raise errors.VarietyError(f"no blueprint {', '.join(unknown)}; there are {', '.join(shipped)}")
    chosen = [shipped[name] for name in families] if families or extra else list(shipped.values())
    return {file: reading.blueprint(file)[0] for file in chosen} | {file: checking.check(file) for file in extra}


def plan(
    chosen: Mapping[Path, language.Blueprint], count: int, seed: int, without: Collection[str] = ()
) -> tuple[Order, ...]:
    """Orders for `count` scenarios, spread over the blueprints, no two with the same tools or the same name.

    Args:
        chosen: The blueprints, by file.
        count: How many scenarios.
        seed: The run's seed.
        without: Names of scenarios that were seen not to compile: each one's place goes to another of its blueprint.
            All others stay what they are without this.

    Raises:
        VarietyError: there are not so many; says how many there are.
    """
    files = list(chosen)
    planner = _Planner(chosen, seed)
    orders: list[Order] = []
    for number in range(count):
        file, variant = files[number % len(files)], number // len(files)
        order = planner.next(file, variant)
        if order is None:
            family = chosen[file].blueprint
            raise errors.VarietyError(
                f"{count} scenarios were asked for, but only {len(orders)} can be made different: {_ATTEMPTS} attempts "
                f"at number {variant + 1} of blueprint {family} came out with the tools or the name of an earlier one. "
                f"Ask for {len(orders)}, or give {family} more titles, optional parts or modules."
            )
        orders.append(order)
    return tuple(planner.instead(order, without) for order in orders)


class _Planner:
    """Finds worlds that are unlike all that were found before."""

    def __init__(self, chosen: Mapping[Path, language.Blueprint], seed: int) -> None:
        self._chosen = chosen
        self._seed = seed
        self._names: set[str] = set()
        self._toolsets: set[frozenset[str]] = set()

    def next(self, file: Path, variant: int, first: int = 0) -> Order | None:
        """The first attempt at a variant, from number `first` on, that is new; None where there is none."""
        for attempt in range(first, first + _ATTEMPTS):
            world = weaving.weave(self._chosen[file], file, variant, self._seed, attempt)
            tools = frozenset(tool.name for tool in world.tools)
            distinct = len(tools) == len(world.tools)
            if distinct and world.name not in self._names and tools not in self._toolsets:
                self._names.add(world.name)
                self._toolsets.add(tools)
                return Order(file, variant, self._seed, attempt, world.name, compiling.provenance(world).source)
        return None

    def instead(self, order: Order, without: Collection[str]) -> Order:
        """The order, or the next like it that is not without; the order itself where there is no more."""
        found: Order | None = order
        while found is not None and found.name in without:
            found = self.next(found.file, found.variant, found.attempt + 1)
        return found or order


def run(orders: Sequence[Order], out: Path, *, workers: int | None = None) -> Iterator[Made]:
    """Makes the scenarios into folders under `out`; yields each in order as it is done. Finished ones are kept.

    Args:
        orders: What to make.
        out: Where to.
        workers: How many processes; by default one per processor. With 1, or for one scenario, it is this process.
    """
    waiting = [order for order in orders if not _is_done(order, out)]
    done = set(orders) - set(waiting)
    made = _compiled(waiting, out, workers)
    for order in orders:
        yield _kept(order, out) if order in done else next(made)


@contextlib.contextmanager
def alone(output_dir: Path) -> Iterator[None]:
    """Keeps other runs out of an output folder; the system forgets it with the process, however that ends.

    Raises:
        OutputInUseError: another run is there.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    with (output_dir / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            message = f"{output_dir}: another run writes into it; wait until it is done, or give another folder"
            raise errors.OutputInUseError(message) from exc
        yield


def make(order: Order, out: Path) -> Made:
    """Makes one scenario in this process."""
    blueprint = _blueprint(order.file)
    world = weaving.weave(blueprint, order.file, order.variant, order.seed, order.attempt)
    try:
        bundle, compiles = compiled(world)
    except errors.CompilationError as exc:
        return Made(order.name, None, reason=str(exc))
    written = writing.write(bundle, out / order.name)
    return Made(order.name, written.root, written.scenario.counts, compiles)


def compiled(world: worlds.World) -> tuple[model.Bundle, int]:
    """The bundle of a world, and how often it was compiled: where tasks do not come out, with other rows again.

    It says of itself what was ordered, whatever its rows were drawn with, so that it is known again.

    Raises:
        CompilationError: it never came out.
    """
    ordered = {"provenance": compiling.provenance(world)}
    for number in itertools.count(1):
        try:
            bundle = compiling.compile_world(world)
            return dataclasses.replace(bundle, scenario=bundle.scenario.model_copy(update=ordered)), number
        except errors.CompilationError:
            if number == _RETRIES:
                raise
            world = dataclasses.replace(world, seed=f"{world.seed}/again")
    raise AssertionError("unreachable")  # pragma: no cover


def _compiled(orders: Sequence[Order], out: Path, workers: int | None) -> Iterator[Made]:
    if workers == 1 or len(orders) == 1:
        yield from (make(order, out) for order in orders)
        return
    count = workers or os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")  # a fork would inherit the threads of a progress bar
    for batch in (orders[start : start + _BATCH] for start in range(0, len(orders), _BATCH)):
        with futures.ProcessPoolExecutor(min(count, len(batch)), mp_context=context, initializer=_settle) as pool:
            yield from pool.map(make, batch, itertools.repeat(out))


def _settle() -> None:
    """Lets a worker look for garbage seldom: it makes many objects per scenario, and is replaced before long."""
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)


def _is_done(order: Order, out: Path) -> bool:
    try:
        return bundles.read(out / order.name).scenario.provenance.source == order.provenance
    except runtime_errors.BundleError:
        return False


def _kept(order: Order, out: Path) -> Made:
    return Made(order.name, out / order.name, bundles.read(out / order.name).scenario.counts)


@functools.cache
def _blueprint(file: Path) -> language.Blueprint:
    return reading.blueprint(file)[0]
