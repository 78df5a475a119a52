"""The `awm` command: a module per command group, joined here."""

import sys
from collections.abc import Sequence

import typer

from awm_fleet.cli import bundle, controller, demo, env, output, verify
from awm_runtime import errors

EXIT_FAILED = 1
EXIT_USAGE = 2


def _one_spelling(token: str) -> str:
    """`--db_path` and `--db-path` are the same flag, `check_all` and `check-all` the same command."""
    return token.replace("-", "_")


app = typer.Typer(
    name="awm",
    no_args_is_help=True,
    context_settings={"token_normalize_func": _one_spelling, "help_option_names": ["--help", "-h"]},
    help="Generate, serve and judge tool-use environments.",
    epilog=output.examples("awm env start library", "awm demo", "awm bundle import FILES --out bundles"),
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("demo", epilog=demo.EXAMPLES)(demo.demo)
app.add_typer(env.app, name="env")
app.add_typer(bundle.app, name="bundle")
app.command("controller", epilog=controller.EXAMPLES)(controller.controller)
app.command("verify", epilog=verify.EXAMPLES)(verify.verify)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command and exits; whatever is wrong with its input becomes one line on standard error."""
    sys.exit(_status(arguments))


def _status(arguments: Sequence[str] | None) -> int:
    try:
        return app(arguments, prog_name="awm", standalone_mode=False) or 0
    except typer.TyperException as exc:
        return _wrong_usage(exc)
    except errors.AwmError as exc:
        output.complain(str(exc), detail=getattr(exc, "detail", ""))
    except OSError as exc:
        output.complain(f"{exc.filename or 'the system'}: {exc.strerror or exc}")
    return EXIT_FAILED


def _wrong_usage(exc: typer.TyperException) -> int:
    """Says what is wrong with the command line; a group without a command has printed its help already."""
    message = exc.format_message()
    context = getattr(exc, "ctx", None)
    if message:
        output.complain(f"{message} (see {context.command_path} --help)" if context else message)
    return EXIT_USAGE
