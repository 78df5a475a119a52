"""The `awm` command."""

import typer

app = typer.Typer(name="awm", no_args_is_help=True, help="Generate, serve and judge tool-use environments.")


@app.callback()
def _root() -> None:
    pass


def main() -> None:
    app()
