"""What all commands of `awm gen` share: the model, the folder's lock, the bars, and what is said at the end."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import rich.progress
import typer

from awm_fleet.cli import gen_gating, output
from awm_generator import errors
from awm_generator.model import endpoints, ledger, opening, prices
from awm_generator.stages import journals, paths, pipeline, proving, running, trials

EXIT_PARTLY = 3

Work = Callable[[pipeline.Bench], Awaitable[Sequence[running.Summary]]]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What is asked, and on what terms. The names are those of the flags."""

    provider: str | None = None
    model: str | None = None
    embedding_model: str | None = None
    env_file: Path | None = None
    prices: Path | None = None
    max_cost: float | None = None
    max_concurrency: int = 32
    gate_level: proving.Level = "semantic"
    as_json: bool = False


def run(
    terms: Terms,
    folder: Path,
    files: paths.Paths,
    options: pipeline.Options,
    work: Work,
    *,
    bundles: Callable[[], Sequence[Path]] = tuple,
    quiet: bool = False,
) -> None:
    """Runs some stages and says what came of them; exits with 3 where something had to be left out.

    Args:
        terms: What is asked.
        folder: The folder that is locked, and that remembers.
        files: Where rows are.
        options: How stages work.
        work: Runs them.
        bundles: What is to be gated afterwards.
        quiet: Whether the caller says what came of it.

    Raises:
        AwmError: what stops the whole run.
    """
    memory = journals.Memory(folder)
    where = _endpoints(terms)
    table = prices.load(terms.prices)
    with memory.locked():
        book = ledger.Ledger(memory.ledger)
        bars = Bars(book)

        async def all_of_it() -> Sequence[running.Summary]:
            conditions = opening.Terms(max_concurrency=terms.max_concurrency, max_cost=terms.max_cost, table=table)
            async with (
                opening.opened(where, memory.replies, book, conditions) as model,
                trials.Trials() as ran,
            ):
                return await work(pipeline.Bench(model, ran, memory, files, options, bars))

        try:
            with bars:
                summaries = asyncio.run(all_of_it())
            gated = gen_gating.gated(bundles(), terms.gate_level)
        except KeyboardInterrupt:
            raise errors.GenerationError(
                "stopped; what is done is kept, and the same command goes on from there"
            ) from None
    if not quiet:
        _report(summaries, gated, bars, book, as_json=terms.as_json)
    if any(each.left_out or each.casualties for each in summaries) or any(each.is_bad for each in gated):
        raise typer.Exit(EXIT_PARTLY)


@dataclass
class Bars:
    """Shows how a run goes: a bar per stage on a terminal, lines elsewhere; whatever is left out is named at once."""

    book: ledger.Ledger
    entries: list[tuple[str, journals.Entry]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Makes the bars."""
        self._began = time.monotonic()
        self._progress = rich.progress.Progress(
            rich.progress.TextColumn("{task.description:<9}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.fields[rate]}"),
            rich.progress.TextColumn("{task.fields[cost]}"),
            rich.progress.TimeElapsedColumn(),
            rich.progress.TimeRemainingColumn(),
            console=output.err,
            disable=not output.err.is_terminal,
        )
        self._tasks: dict[str, rich.progress.TaskID] = {}
        self._starts: dict[str, tuple[float, float]] = {}

    def __enter__(self) -> None:
        """Shows them."""
        self._progress.start()

    def __exit__(self, *_: object) -> None:
        """Leaves them as they are."""
        self._progress.stop()

    def begin(self, stage: str, total: int) -> None:
        """See `Watcher`."""
        self._starts[stage] = (time.monotonic(), self.book.total.cost)
        self._tasks[stage] = self._progress.add_task(stage, total=total, rate="", cost="")

    def settled(self, stage: str, entry: journals.Entry) -> None:
        """See `Watcher`."""
        began, cost = self._starts[stage]
        task = self._progress.tasks[self._tasks[stage]]
        spent = self.book.total.cost - cost
        minutes = max(1e-9, (time.monotonic() - began) / 60)
        rate = (task.completed + 1) / minutes
        unpriced = " + unknown" if self.book.total.unpriced else ""
        self._progress.update(task.id, advance=1, rate=f"{rate:.1f}/min", cost=f"${spent:.2f}{unpriced}")
        if entry.reason:
            self._say(f"quarantined: {stage}: {entry.scenario}: {entry.reason}")
        for part in entry.casualties:
            self._say(f"left out: {stage}: {entry.scenario}, {part.subject}: {part.reason}")
        if entry.reason or entry.casualties:
            self.entries.append((stage, entry))

    def end(self, summary: running.Summary) -> None:
        """See `Watcher`."""
        if not output.err.is_terminal:
            earlier = f", {summary.earlier} before" if summary.earlier else ""
            self._say(f"{summary.stage}: {summary.done} done{earlier}, {summary.left_out} quarantined")

    def note(self, text: str) -> None:
        """See `Watcher`."""
        self.notes.append(text)
        self._say(f"note: {text}")

    def _say(self, text: str) -> None:
        self._progress.console.print(text, markup=False, soft_wrap=True)


def provider_of(terms: Terms) -> endpoints.Provider:
    """Which provider a command uses, by its flag or its variable.

    Raises:
        GenerationError: there is no such provider, or no such `.env` file.
    """
    return endpoints.provider(endpoints.variables(os.environ, terms.env_file), terms.provider)


def _endpoints(terms: Terms) -> endpoints.Endpoints:
    provider = provider_of(terms)
    if provider == "builtin":
        raise errors.GenerationError("the stages ask a language model, and the provider builtin has none")
    variables = endpoints.variables(os.environ, terms.env_file)
    return endpoints.read(variables, provider, model=terms.model, embedding_model=terms.embedding_model)


def refuse_existing(path: Path, *, resume: bool) -> None:
    """Keeps a run that is not to go on from an older one off its output.

    Raises:
        GenerationError: the output is there.
    """
    if not resume and path.exists():
        raise errors.GenerationError(
            f"{path}: is there already; name another output, remove it, or leave out --no_resume"
        )


def scenario_name(given: str) -> str:
    """A scenario's name as files are joined on it.

    Raises:
        BadParameter: it is none.
    """
    [name] = pipeline.normalised([given])
    if not name:
        raise typer.BadParameter(f"{given!r} has no letter or digit to name a scenario by")
    return name


def stage_name(given: str) -> paths.StageName:
    """The stage that `--from` names.

    Raises:
        BadParameter: there is none, or nothing is before it.
    """
    for stage in paths.STAGES[1:-1]:
        if given == stage:
            return stage
    raise typer.BadParameter(f"--from: no stage {given!r}; there are {', '.join(paths.STAGES[1:-1])}")


def _report(
    summaries: Sequence[running.Summary],
    gated: Sequence[gen_gating.Verdict],
    bars: Bars,
    book: ledger.Ledger,
    *,
    as_json: bool,
) -> None:
    if as_json:
        output.document(
            {
                "stages": [asdict(summary) for summary in summaries],
                "quarantined": [
                    {"stage": stage, "scenario": entry.scenario, "reason": entry.reason, "detail": entry.detail}
                    for stage, entry in bars.entries
                    if entry.reason
                ],
                "left_out": [
                    {"stage": stage, "scenario": entry.scenario, **asdict(part)}
                    for stage, entry in bars.entries
                    for part in entry.casualties
                ],
                "gated": [asdict(each) for each in gated],
                "notes": bars.notes,
                "spent": asdict(book.total),
            }
        )
        return
    columns = ("stage", "done now", "done before", "quarantined", "parts left out")
    rows = [(each.stage, each.done, each.earlier, each.left_out, each.casualties) for each in summaries]
    output.table("", columns, rows)
    if gated:
        gen_gating.show(gated)
    output.say(spent(book.total))


def spent(total: ledger.Spent) -> str:
    """What some replies took, in a sentence."""
    tokens = f"{total.replies} replies, {total.input_tokens:,} tokens in, {total.output_tokens:,} out"
    if not total.unpriced:
        return f"{tokens}, ${total.cost:.4f}"
    known = f"${total.cost:.4f} and " if total.cost else ""
    return f"{tokens}, {known}an unknown cost for {total.unpriced} replies: no price is known for the model (--prices)"
