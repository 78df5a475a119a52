"""Makes the next generation of one scenario: what `awm gen regenerate` and `awm fleet regenerate` have in common."""

from collections.abc import Sequence
from pathlib import Path

from awm_fleet.cli import gen_running
from awm_generator.stages import paths, pipeline, regenerating, running


def make(terms: gen_running.Terms, folder: Path, wish: regenerating.Wish, options: pipeline.Options) -> int:
    """Makes it from the rows of a run's folder, in the place of the one before; returns its number.

    Raises:
        AwmError: It cannot be made; the old one stays.
    """
    made: list[int] = []

    async def work(bench: pipeline.Bench) -> Sequence[running.Summary]:
        made.append(await regenerating.run(bench, wish))
        return []

    files = paths.Paths.within(folder, options.mode)
    gen_running.run(terms, folder, files, options, work, bundles=lambda: [files.bundles / wish.name], quiet=True)
    return made[0]
