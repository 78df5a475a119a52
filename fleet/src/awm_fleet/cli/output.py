"""What commands print: tables for people, one JSON document for programs, complaints on standard error."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import rich.box
import rich.console
import rich.table
import rich.text

out = rich.console.Console(highlight=False)
err = rich.console.Console(stderr=True, highlight=False)


def document(value: Any) -> None:
    """Prints one JSON document, and nothing else, on standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))  # noqa: T201


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a table; what is in its cells is data, never markup."""
    drawn = rich.table.Table(title=title, title_justify="left", box=rich.box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(rich.text.Text("" if cell is None else str(cell)) for cell in row))
    out.print(drawn)


def say(text: str, style: str | None = None) -> None:
    """Prints a line."""
    out.print(rich.text.Text(text, style=style or ""), soft_wrap=True)


def complain(text: str, *, detail: str = "") -> None:
    """Says on standard error what went wrong."""
    err.print(rich.text.Text.assemble(("error: ", "bold red"), text), soft_wrap=True)
    if detail:
        err.print(rich.text.Text(detail, style="dim"), soft_wrap=True)
