"""The `awm` command: a module per command group, joined here."""

import json
import sys
from collections.abc import Sequence

import typer

from awm_fleet.cli import (
    bundle,
    catalog,
    controller,
    demo,
    dev,
    env,
    environments,
    episode,
    fleet,
    gate,
    gen,
    image,
    output,
    router,
    token,
    tools,
    verify,
)
from awm_runtime import errors
from awm_runtime.contract import problems

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
    epilog=output.examples("awm up", "awm demo", "awm env start library", "awm bundle import FILES --out bundles"),
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("up", epilog=fleet.UP_EXAMPLES)(fleet.up)
app.command("down", epilog=fleet.DOWN_EXAMPLES)(fleet.down)
app.command("status", epilog=fleet.STATUS_EXAMPLES)(fleet.status)
app.command("logs", epilog=fleet.LOGS_EXAMPLES)(fleet.logs)
app.command("demo", epilog=demo.EXAMPLES)(demo.demo)
app.add_typer(env.app, name="env")
app.add_typer(bundle.app, name="bundle")
app.add_typer(image.app, name="image")
app.add_typer(catalog.app, name="catalog")
app.command("tools", epilog=tools.TOOLS_EXAMPLES)(tools.tools)
app.command("call", epilog=tools.CALL_EXAMPLES)(tools.call)
app.add_typer(episode.app, name="episode")
app.add_typer(token.app, name="token")
app.add_typer(gen.app, name="gen")
app.command("gate", epilog=gate.EXAMPLES)(gate.gate)
app.add_typer(dev.app, name="dev")
app.add_typer(environments.app, name="fleet")
app.command("controller", epilog=controller.EXAMPLES)(controller.controller)
app.command("router", epilog=router.EXAMPLES)(router.router)
app.command("verify", epilog=verify.EXAMPLES)(verify.verify)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command and exits; whatever is wrong with its input becomes one line on standard error."""
    sys.exit(_status(arguments))


def _status(arguments: Sequence[str] | None) -> int:
    try:
        return app(arguments, prog_name="awm", standalone_mode=False) or 0
    except typer.TyperException as exc:
        return _wrong_usage(exc)
    except problems.ProblemError as exc:
        output.complain(exc.detail, detail="" if exc.diagnostics is None else json.dumps(exc.diagnostics, indent=2))
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
