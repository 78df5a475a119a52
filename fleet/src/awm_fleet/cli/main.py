"""The `awm` command: a module per command group, joined here and imported when it is run."""

import json
import sys
from collections.abc import Sequence

import typer

from awm_fleet.cli import lazy, output
from awm_runtime import errors

EXIT_FAILED = 1
EXIT_USAGE = 2


def _one_spelling(token: str) -> str:
    """`--db_path` and `--db-path` are the same flag, `check_all` and `check-all` the same command."""
    return token.replace("-", "_")


class Commands(lazy.Group):
    """What `awm` can do, in the order of its help."""

    LATER = (
        lazy.Command("up", "fleet", "Serve scenarios on one port until Ctrl-C, each asleep until it is used."),
        lazy.Command("down", "fleet", "End the fleet that `awm up` started; returns when nothing of it runs."),
        lazy.Command("status", "fleet", "Show what a fleet serves, and what is awake."),
        lazy.Command("logs", "fleet", "Print the last lines that a scenario's process logged."),
        lazy.Command("demo", "demo", "Solve a task before your eyes, and judge it."),
        lazy.Command("env", "env", "Serve, check and reset environments."),
        lazy.Command("bundle", "bundle", "Import, export, show and check bundles."),
        lazy.Command("image", "image", "Build, inspect, verify and prune images of scenarios."),
        lazy.Command("catalog", "catalog", "Build, push and show catalogues of scenarios."),
        lazy.Command("tools", "tools", "List a scenario's tools. A sleeping one is not woken."),
        lazy.Command("call", "tools", "Call a tool of a scenario."),
        lazy.Command("episode", "episode", "Open, look at, reset, judge and close episodes."),
        lazy.Command("token", "token", "Make, look at and rotate what opens a fleet."),
        lazy.Command(
            "gen",
            "gen",
            "Generate scenarios: with a language model, stage by stage or all at once, or from blueprints without one. "
            "What was stopped goes on where it ended.",
        ),
        lazy.Command("gate", "gate", "Run the gates on bundles."),
        lazy.Command("dev", "dev", "Helpers for development: a model server without a model."),
        lazy.Command("fleet", "environments", "Look at and change the environments of a cluster."),
        lazy.Command("controller", "controller", "Run the controller of a fleet on Kubernetes until Ctrl-C."),
        lazy.Command(
            "router",
            "router",
            "Answer for a fleet on Kubernetes until Ctrl-C: one URL before the scenarios of all teams.",
        ),
        lazy.Command("verify", "verify", "Judge a run by its two databases."),
    )


app = typer.Typer(
    name="awm",
    cls=Commands,
    no_args_is_help=True,
    context_settings={"token_normalize_func": _one_spelling, "help_option_names": ["--help", "-h"]},
    epilog=output.examples("awm up", "awm demo", "awm env start library", "awm bundle import FILES --out bundles"),
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback()
def _awm() -> None:
    """Generate, serve and judge tool-use environments."""


def whole() -> lazy.Group:
    """The command with all that is in it, for who reads its help as a tree."""
    command = typer.main.get_command(app)
    assert isinstance(command, lazy.Group)
    command.load()
    return command


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command and exits; whatever is wrong with its input becomes one line on standard error."""
    sys.exit(_status(arguments))


def _status(arguments: Sequence[str] | None) -> int:
    try:
        return app(arguments, prog_name="awm", standalone_mode=False) or 0
    except typer.TyperException as exc:
        return _wrong_usage(exc)
    except errors.AwmError as exc:
        output.complain(str(exc), detail=_detail(exc))
    except OSError as exc:
        output.complain(f"{exc.filename or 'the system'}: {exc.strerror or exc}")
    return EXIT_FAILED


def _detail(exc: errors.AwmError) -> str:
    """What there is to say beside the one line."""
    from awm_runtime.contract import problems  # pydantic, which a command without errors may not need

    if isinstance(exc, problems.ProblemError):
        return "" if exc.diagnostics is None else json.dumps(exc.diagnostics, indent=2)
    return str(getattr(exc, "detail", ""))


def _wrong_usage(exc: typer.TyperException) -> int:
    """Says what is wrong with the command line; a group without a command has printed its help already."""
    message = exc.format_message()
    context = getattr(exc, "ctx", None)
    if message:
        output.complain(f"{message} (see {context.command_path} --help)" if context else message)
    return EXIT_USAGE
