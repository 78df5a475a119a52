"""The stages over whole files: what each reads, makes and writes."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from awm_generator import errors
from awm_generator.awm_files import rows
from awm_generator.model import language
from awm_generator.stages import (
    asking,
    databases,
    environments,
    journals,
    outcomes,
    paths,
    proving,
    publishing,
    row_files,
    running,
    solving,
    specs,
    tasks,
    trials,
    verifiers,
)
from awm_runtime import names


@dataclass(frozen=True)
class Hint:
    """What makes a scenario's next generation differ.

    Attributes:
        feedback: What its author wants.
        generation: Which it is to be.
    """

    feedback: str = ""
    generation: int = 1


@dataclass(frozen=True, kw_only=True)
class Options:
    """How stages work.

    Attributes:
        num_tasks: Tasks for each scenario.
        max_retry: How often a reply that does not hold may be mended.
        schema_tolerance: The share of DDL statements that may fail and are left out.
        sample_tolerance: The same of inserts.
        mode: What verifiers give.
        gates: How far code and verifiers are gated as they are made.
        only: Only these scenarios, by normalised name; all where empty.
        limit: At most so many.
        max_concurrency: How many scenarios are under way at once.
        hints: What is special about some, by normalised name.
    """

    num_tasks: int = 10
    max_retry: int = 4
    schema_tolerance: float = 0.0
    sample_tolerance: float = 0.0
    mode: verifiers.Mode = "code"
    gates: proving.Level = "semantic"
    only: frozenset[str] = frozenset()
    limit: int | None = None
    max_concurrency: int = 32
    hints: Mapping[str, Hint] = field(default_factory=dict)


@dataclass(frozen=True)
class Bench:
    """What stages work with.

    Attributes:
        model: Who is asked.
        ran: Where things are tried.
        memory: What the folder's runs remember.
        files: Where rows are read and written.
        options: How.
        watcher: Sees how it goes.
    """

    model: language.LanguageModel
    ran: trials.Trials
    memory: journals.Memory
    files: paths.Paths
    options: Options
    watcher: running.Watcher

    def session(self, stage: str, name: str) -> asking.Session:
        """A talk with the model about one scenario."""
        hint = self.options.hints.get(name, Hint())
        return asking.Session(
            model=self.model,
            stage=stage,
            scenario=name,
            max_retry=self.options.max_retry,
            feedback=hint.feedback,
            salt=f"generation {hint.generation}" if hint.generation > 1 else "",
        )


_Make = Callable[[Bench, rows.Originals, asking.Session], Awaitable[outcomes.Outcome]]


@dataclass(frozen=True)
class _Plan:
    """What a stage reads, and what it makes of one scenario's rows."""

    make: _Make
    needed: tuple[paths.StageName, ...]
    useful: tuple[paths.StageName, ...] = ()


async def run(bench: Bench, stage: paths.StageName, *, among: paths.StageName | None = None) -> running.Summary:
    """Runs a stage over the files; `scenario` has a way of its own (`growing`).

    Args:
        bench: What to work with.
        stage: Which.
        among: Only scenarios that this stage has made a row of.

    Raises:
        AwmError: what stops the whole run.
    """
    plan = _PLANS[stage]
    shelf = paths.Shelf(bench.files, plan.needed, plan.useful)
    chosen = _chosen(shelf, bench.options)
    if among is not None:
        made = row_files.RowFile(bench.files.of(among), row_files.KINDS[paths.FILES[among]])
        chosen = [name for name in chosen if name in made]
    works = [_work(bench, stage, plan, shelf, name) for name in chosen]
    if stage == "bundle":
        target: running.Target = _Bundles(bench.files.bundles, bench.memory.journal(bench.files.bundles))
    else:
        path = bench.files.of(stage)
        target = running.RowTarget(row_files.opened(path, paths.FILES[stage]), bench.memory.journal(path))
    return await running.run(stage, works, target, bench.watcher, window=bench.options.max_concurrency)


def note_bundle(bench: Bench, name: str) -> None:
    """Notes that the bundle of a scenario is made of the rows that are in the files now."""
    plan = _PLANS["bundle"]
    work = _work(bench, "bundle", plan, paths.Shelf(bench.files, plan.needed, plan.useful), name)
    running.noted(bench.memory.journal(bench.files.bundles), work, outcomes.Outcome(()))


def _chosen(shelf: paths.Shelf, options: Options) -> list[str]:
    present = shelf.names()
    unknown = sorted(options.only - set(present))
    if unknown:
        few = ", ".join(present[:5]) + (", ..." if len(present) > 5 else "")
        raise errors.GenerationError(f"no rows to work from for {', '.join(unknown)}; there are: {few}")
    chosen = [name for name in present if not options.only or name in options.only]
    return chosen[: options.limit]


def _work(bench: Bench, stage: paths.StageName, plan: _Plan, shelf: paths.Shelf, name: str) -> running.Work:
    hashed = running.hashed((*(originals := shelf.originals(name)).single.values(), *originals.verifiers))

    async def make() -> outcomes.Outcome:
        # Read again when its turn comes: a thousand scenarios' rows are not kept until then.
        return await plan.make(bench, shelf.originals(name), bench.session(stage, name))

    return running.Work(name, hashed, make)


class _Bundles:
    """The folder of bundles, which are made again whenever rows that they are made of changed."""

    def __init__(self, folder: Path, journal: journals.Journal) -> None:
        self._folder, self.journal = folder, journal

    def settles(self, work: running.Work) -> bool:
        """See `Target`."""
        entry = self.journal.entries.get(work.name)
        if entry is None or entry.input != work.input:
            return False
        return bool(entry.reason) or (self._folder / work.name / "scenario.json").exists()

    def settle(self, work: running.Work, outcome: outcomes.Outcome | outcomes.Quarantined) -> journals.Entry:
        """See `Target`; the bundle is in its place already."""
        return running.noted(self.journal, work, outcome)


async def _task(bench: Bench, originals: rows.Originals, session: asking.Session) -> outcomes.Outcome:
    scenario = paths.needed_row(originals, rows.ScenarioRow)
    return outcomes.Outcome((await tasks.generate(scenario, session, count=bench.options.num_tasks),))


async def _db(bench: Bench, originals: rows.Originals, session: asking.Session) -> outcomes.Outcome:
    row = await databases.schema(
        paths.needed_row(originals, rows.TasksRow),
        session,
        bench.ran,
        tolerance=bench.options.schema_tolerance,
        file=bench.files.database(originals.name),
    )
    return outcomes.Outcome((row,))


async def _sample(bench: Bench, originals: rows.Originals, session: asking.Session) -> outcomes.Outcome:
    row = await databases.sample(
        paths.needed_row(originals, rows.TasksRow),
        paths.needed_row(originals, rows.DbRow),
        session,
        bench.ran,
        tolerance=bench.options.sample_tolerance,
        file=bench.files.database(originals.name),
    )
    return outcomes.Outcome((row,))


async def _spec(_: Bench, originals: rows.Originals, session: asking.Session) -> outcomes.Outcome:
    asked, schema = paths.needed_row(originals, rows.TasksRow), paths.needed_row(originals, rows.DbRow)
    return outcomes.Outcome((await specs.generate(asked, schema, session),))


async def _env(bench: Bench, originals: rows.Originals, session: asking.Session) -> outcomes.Outcome:
    row = await environments.generate(
        paths.needed_row(originals, rows.SpecRow),
        paths.needed_row(originals, rows.DbRow),
        session,
        bench.ran,
        gates=proving.Gates(originals, bench.ran, bench.options.gates),
        file=bench.files.database(originals.name),
    )
    return outcomes.Outcome((row,))


async def _verifier(bench: Bench, originals: rows.Originals, session: asking.Session) -> outcomes.Outcome:
    file = bench.files.database(originals.name)
    await bench.ran.beside(lambda: _ensure_database(originals, file))
    asked = paths.needed_row(originals, rows.TasksRow)
    return await verifiers.generate(asked, session, bench.ran, mode=bench.options.mode, file=file)


async def _oracle(bench: Bench, originals: rows.Originals, session: asking.Session) -> outcomes.Outcome:
    gates = proving.Gates(originals, bench.ran, bench.options.gates)
    solver = solving.Solver(originals, session, bench.ran, gates, file=bench.files.database(originals.name))
    return await solver.solve()


async def _bundle(bench: Bench, originals: rows.Originals, session: asking.Session) -> outcomes.Outcome:
    hint = bench.options.hints.get(originals.name)
    maker = publishing.Maker(model=session.model.name)
    root = bench.files.bundles / originals.name
    generation = hint.generation if hint else await bench.ran.beside(lambda: publishing.generation(root))
    await bench.ran.beside(lambda: publishing.publish(originals, root, maker, generation=generation))
    return outcomes.Outcome(())


def _ensure_database(originals: rows.Originals, file: Path) -> None:
    """Builds the database of rows whose database is not there."""
    schema = originals.row(rows.DbRow)
    if file.exists() or schema is None:
        return
    sample, asked = originals.row(rows.SampleRow), originals.row(rows.TasksRow)
    databases.built(schema, sample, databases.clock(asked), file)


_PLANS: dict[paths.StageName, _Plan] = {
    "task": _Plan(_task, ("scenario",)),
    "db": _Plan(_db, ("task",)),
    "sample": _Plan(_sample, ("db", "task")),
    "spec": _Plan(_spec, ("task", "db")),
    "env": _Plan(_env, ("spec", "db"), ("task", "sample")),
    "verifier": _Plan(_verifier, ("task",), ("db", "sample")),
    "oracle": _Plan(_oracle, ("env", "task", "db", "verifier"), ("scenario", "sample", "spec")),
    "bundle": _Plan(_bundle, ("env", "db", "task"), ("scenario", "sample", "spec", "verifier", "oracle")),
}


def normalised(wanted: list[str]) -> frozenset[str]:
    """Names in any spelling, as files are joined on them."""
    return frozenset(names.normalise(name) for name in wanted)
