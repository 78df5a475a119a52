"""What commands print: tables for people, one JSON document for programs, complaints on standard error."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import rich.box
import rich.console
import rich.table
import rich.text

if TYPE_CHECKING:
    from awm_runtime.contract import verdicts

out = rich.console.Console(highlight=False)
err = rich.console.Console(stderr=True, highlight=False)

_Item = TypeVar("_Item")

_UNBOUNDED = 10_000
"""In a file or a pipe a table is as wide as its cells: nobody wants folded paths there."""

_OUTCOME_STYLES = {"completed": "bold green", "partial": "bold yellow", "failed": "bold red"}


def document(value: Any) -> None:
    """Prints one JSON document, and nothing else, on standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))  # noqa: T201


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a table; what is in its cells is data, never markup."""
    show(drawn(title, columns, rows))


def drawn(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, styles: Mapping[str, str] | None = None
) -> rich.table.Table:
    """A table to print; what is in its cells is data, never markup.

    Args:
        title: Its title.
        columns: Its columns' heads.
        rows: Its cells.
        styles: How cells with a text look.
    """
    made = rich.table.Table(title=title or None, title_justify="left", box=rich.box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        texts = ["" if cell is None else str(cell) for cell in row]
        made.add_row(*(rich.text.Text(text, style=(styles or {}).get(text, "")) for text in texts))
    return made


def show(made: rich.table.Table) -> None:
    """Prints a table that was drawn."""
    (out if out.is_terminal else rich.console.Console(width=_UNBOUNDED)).print(made)


def say(text: str, style: str | None = None) -> None:
    """Prints a line."""
    out.print(rich.text.Text(text, style=style or ""), soft_wrap=True)


def tracked(items: Iterator[_Item], total: int, what: str) -> Iterator[_Item]:
    """Hands on `items` under a bar on standard error, where that is a terminal."""
    from rich import progress

    terminal = err.is_terminal
    yield from progress.track(items, what, total=total, console=err, disable=not terminal, transient=True)


def verdict(judged: "verdicts.Verdict") -> None:
    """Prints a verdict: each check, the evidence where there is some, the outcome and what it is worth."""
    for check, passed in judged.checks.items():
        say(f"  {'ok  ' if passed else 'FAIL'} {check}", "green" if passed else "red")
    if judged.evidence:
        document(judged.evidence)
    worth = "no reward" if judged.reward is None else f"reward {judged.reward:g}"
    reason = f" ({judged.reason})" if judged.reason else ""
    say(f"verdict: {judged.outcome}, {worth}{reason}", _OUTCOME_STYLES.get(judged.outcome, "bold"))


def warn(text: str) -> None:
    """Says on standard error what a person should know, though the command goes on."""
    err.print(rich.text.Text(text, style="yellow"), soft_wrap=True)


def complain(text: str, *, detail: str = "") -> None:
    """Says on standard error what went wrong."""
    err.print(rich.text.Text.assemble(("error: ", "bold red"), text), soft_wrap=True)
    if detail:
        err.print(rich.text.Text(detail.rstrip(), style="dim"), soft_wrap=True)


def examples(*commands: str) -> str:
    """The end of a command's help: command lines to paste."""
    return "\n\n".join(("Examples:", *(f"$ {command}" for command in commands)))
