"""Builds the images of many bundles at once, on one base, into one place."""

import concurrent.futures
import itertools
import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from awm_generator.images import assembly, layers, model, outputs
from awm_runtime import errors

_FEW = 6
"""As many bundles are done before further processes have started."""


@dataclass(frozen=True, slots=True)
class Built:
    """What came of a bundle.

    Attributes:
        path: The bundle's folder.
        layer: What its image says of it; None where there is no image.
        stored: Where the image is.
        error: Why there is none.
    """

    path: Path
    layer: layers.ScenarioLayer | None = None
    stored: outputs.Stored | None = None
    error: str | None = None


def build(
    bundles: Sequence[Path], base: model.Image, output: outputs.Output, *, processes: int | None = None
) -> Iterator[Built]:
    """Builds and stores; gives each as it is done, in the order given unless the place takes several at once.

    A broken bundle stops nothing. What is the matter with the place does.

    Raises:
        AwmError: The place cannot take images.
    """
    made = _layers(bundles, processes or os.cpu_count() or 1)
    if output.parallel == 1:
        for batch in _batches(made):
            yield from _stored(batch, base, output)
        return
    with concurrent.futures.ThreadPoolExecutor(output.parallel, thread_name_prefix="image") as pool:
        waiting: set[concurrent.futures.Future[list[Built]]] = set()
        try:
            for each in made:
                waiting.add(pool.submit(_stored, [each], base, output))
                if len(waiting) >= 2 * output.parallel:
                    done, waiting = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
                    for future in done:
                        yield from future.result()
            for future in concurrent.futures.as_completed(waiting):
                yield from future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_Made = tuple[Path, layers.ScenarioLayer | str]


def _stored(made: Sequence[_Made], base: model.Image, output: outputs.Output) -> list[Built]:
    layered = [(path, layer) for path, layer in made if isinstance(layer, layers.ScenarioLayer)]
    images = [(layer.scenario, layer.generation, assembly.assemble(base, layer)) for _, layer in layered]
    stored = dict(zip((path for path, _ in layered), output.put(images), strict=True)) if images else {}
    return [
        Built(path, layer, stored[path]) if isinstance(layer, layers.ScenarioLayer) else Built(path, error=layer)
        for path, layer in made
    ]


def _layers(bundles: Sequence[Path], processes: int) -> Iterator[_Made]:
    if processes == 1 or len(bundles) <= _FEW:
        yield from map(_made, bundles)
        return
    # Not forked: this process may have threads.
    fresh = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(processes, fresh, initializer=_ignore_interrupts) as pool:
        try:
            yield from pool.map(_made, bundles, chunksize=4)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _made(path: Path) -> _Made:
    try:
        return path, layers.build(path)
    except errors.AwmError as exc:
        return path, str(exc)


def _batches(made: Iterable[_Made]) -> Iterator[list[_Made]]:
    made = iter(made)
    while batch := list(itertools.islice(made, outputs.BATCH)):
        yield batch


def _ignore_interrupts() -> None:
    """Ctrl-C is for the process that a person started; the others are ended by it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
