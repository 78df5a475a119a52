"""`gen all`: every stage after the other, from seeds or a brief to bundles."""

from collections.abc import Sequence
from pathlib import Path

from awm_generator import seeds
from awm_generator.awm_files import rows
from awm_generator.stages import briefs, growing, paths, pipeline, row_files, running


def target(bench: pipeline.Bench) -> running.RowTarget:
    """Where scenarios go."""
    path = bench.files.scenario
    return running.RowTarget(row_files.opened(path, paths.FILES["scenario"]), bench.memory.journal(path))


async def grow(
    bench: pipeline.Bench, growth: growing.Growth, *, seed_file: Path | None, brief: str | None
) -> running.Summary:
    """The scenario stage, from seeds, or from a brief, which is one scenario.

    Raises:
        AwmError: what stops the whole run.
    """
    where = target(bench)
    if brief is None:
        found = growing.usable_seeds(seeds.read(seed_file), bench.watcher)
        return await growing.Grower(bench.model, where, growth, bench.watcher).grow(found)
    row = await briefs.scenario(briefs.read(brief), bench.model, max_retry=bench.options.max_retry)
    return await _one(bench, where, row)


async def run(
    bench: pipeline.Bench, growth: growing.Growth, *, seed_file: Path | None = None, brief: str | None = None
) -> list[running.Summary]:
    """All stages.

    Raises:
        AwmError: what stops the whole run.
    """
    summaries = [await grow(bench, growth, seed_file=seed_file, brief=brief)]
    for stage in stages(bench.options):
        if not len(row_files.RowFile(bench.files.of(_before(stage)), row_files.KINDS[paths.FILES[_before(stage)]])):
            break  # nothing came through: the reasons are in the journals
        summaries.append(await pipeline.run(bench, stage, among="env" if stage == "verifier" else None))
    return summaries


def stages(options: pipeline.Options) -> Sequence[paths.StageName]:
    """The stages after the first. What sql mode verifiers say is evidence, by which no oracle can be judged."""
    return [stage for stage in paths.STAGES[1:] if stage != "oracle" or options.mode == "code"]


def _before(stage: paths.StageName) -> paths.StageName:
    """The stage without whose rows this one has nothing to do."""
    needs: dict[paths.StageName, paths.StageName] = {"oracle": "verifier", "bundle": "env"}
    return needs.get(stage) or paths.STAGES[paths.STAGES.index(stage) - 1]


async def _one(bench: pipeline.Bench, where: running.RowTarget, row: rows.ScenarioRow) -> running.Summary:
    summary = running.Summary(growing.STAGE)
    bench.watcher.begin(growing.STAGE, 1)
    name = row_files.name_of(row)
    if where.has(name):
        summary.earlier = 1
    else:
        where.output.append([row])
        summary.done = 1
    bench.watcher.end(summary)
    return summary
