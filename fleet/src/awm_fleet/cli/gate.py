"""`awm gate`: runs the gates of bundles, and says what tier each earns and why."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from awm_fleet import shelves
from awm_fleet.cli import gate_tables, output
from awm_generator.gates import cards, protocol, running

app = typer.Typer()

_EXAMPLES = output.examples(
    "awm gate bundles",
    "awm gate bundles/rover --level runtime --again",
    "awm gate bundles --jobs 4 --cards cards --json",
)

_FAILED, _PARTLY = 1, 3


@app.command(epilog=_EXAMPLES)
def gate(
    paths: Annotated[list[Path], typer.Argument(metavar="BUNDLE", help="Bundles, or folders of bundles.")],
    level: Annotated[
        protocol.Level, typer.Option("--level", help="How far: each level needs the ones before it.")
    ] = "semantic",
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="How many bundles at a time; by default one per processor.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Gate also what these gates have seen before, unchanged.")
    ] = False,
    card_folder: Annotated[
        Path | None, typer.Option("--cards", metavar="DIR", help="Write a Markdown card per bundle into this folder.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
) -> None:
    """Run the gates on bundles.

    Each is examined in a confined process of its own. What is found goes into its report.json, the tier that it earns
    into its scenario.json: gold when it passes all, silver without proof that its tasks can be solved, bronze when its
    tools or verifiers fail, quarantined when it is of no use. Exits with 3 when some bundle is quarantined or cannot be
    read, and with 1 when none could be gated.
    """
    done = gated(shelves.folders(paths), level=level, jobs=jobs, again=again)
    if card_folder is not None:
        _write_cards(done, card_folder)
    if as_json:
        output.document({"bundles": gate_tables.documents(done)})
    else:
        gate_tables.show(done)
    gate_tables.complain(done)
    if all(each.report is None for each in done):
        raise typer.Exit(_FAILED)
    if is_partial(done):
        raise typer.Exit(_PARTLY)


def gated(
    paths: Sequence[Path], *, level: protocol.Level = "semantic", jobs: int | None = None, again: bool = False
) -> list[running.Gated]:
    """Gates bundles under a bar."""
    done = running.run(paths, level=level, jobs=jobs, again=again)
    return list(output.tracked(done, len(paths), "Gating"))


def is_partial(done: Sequence[running.Gated]) -> bool:
    """Whether some bundle is quarantined, could not be gated, or could not be told so."""
    return any(each.error or each.report is None or each.report.tier == "quarantined" for each in done)


def _write_cards(done: Sequence[running.Gated], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for each in done:
        if each.scenario is not None and each.report is not None:
            text = cards.card(each.scenario, each.report)
            (folder / f"{each.scenario.name}.md").write_text(text, encoding="utf-8")
