"""The `awm` command: a module per command group, joined here."""

import sys

import typer

from awm_fleet.cli import bundle, demo, env, output, verify
from awm_runtime import errors

EXIT_FAILED = 1


def _one_spelling(token: str) -> str:
    """`--db_path` and `--db-path` are the same flag, `check_all` and `check-all` the same command."""
    return token.replace("-", "_")


app = typer.Typer(
    name="awm",
    no_args_is_help=True,
    context_settings={"token_normalize_func": _one_spelling, "help_option_names": ["--help", "-h"]},
    help="Generate, serve and judge tool-use environments.",
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(bundle.app, name="bundle")
app.add_typer(env.app, name="env")
app.command("demo")(demo.demo)
app.command("verify")(verify.verify)


def main() -> None:
    """Runs a command; an error of ours becomes one line on standard error and exit status 1."""
    try:
        app()
    except errors.AwmError as exc:
        output.complain(str(exc), detail=getattr(exc, "detail", ""))
        sys.exit(EXIT_FAILED)
    except typer.Abort:
        sys.exit(130)
