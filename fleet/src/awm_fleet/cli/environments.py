"""`awm fleet`: the environments of a cluster. Runs with the rights of whoever calls it."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from awm_fleet.cli import lazy, output
from awm_runtime import errors

if TYPE_CHECKING:
    from types import ModuleType

    from awm_fleet.backends.kubernetes import api, model


class Commands(lazy.Group):
    """What needs the generator beside the cluster's client."""

    LATER = (
        lazy.Command(
            "regenerate",
            "regenerate",
            "Make the next generation of a scenario, and have the cluster serve it in place of the one that runs.",
        ),
    )


app = typer.Typer(
    name="fleet", cls=Commands, no_args_is_help=True, help="Look at and change the environments of a cluster."
)
_rollout = typer.Typer(name="rollout", no_args_is_help=True, help="Follow a change.")
app.add_typer(_rollout)

Scenario = Annotated[str, typer.Argument(help="The scenario's name.")]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="The team's namespace.")]
Kubeconfig = Annotated[
    str | None, typer.Option("--kubeconfig", help="The way to the cluster; by default KUBECONFIG's.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

_Answer = TypeVar("_Answer")

_COLUMNS = ("scenario", "state", "generation", "tools", "revision", "ready", "reason")


@app.command("list", epilog=output.examples("awm fleet list -n team-red", "awm fleet list -n team-red --json"))
def list_(namespace: Namespace, kubeconfig: Kubeconfig = None, json_: Json = False) -> None:
    """List a team's environments."""
    found: list[model.Environment] = on_cluster(
        kubeconfig, lambda operations, connection: operations.environments(connection, namespace)
    )
    if json_:
        output.document({"environments": [_document(each) for each in found]})
        return
    output.table(f"{len(found)} environments in {namespace}", _COLUMNS, map(_row, found))


@app.command("describe", epilog=output.examples("awm fleet describe rover -n team-red"))
def describe(scenario: Scenario, namespace: Namespace, kubeconfig: Kubeconfig = None, json_: Json = False) -> None:
    """Say what a scenario is doing, and why."""
    found: model.Environment = on_cluster(
        kubeconfig, lambda operations, connection: operations.environment(connection, namespace, scenario)
    )
    if json_:
        output.document(_document(found))
        return
    output.table("", _COLUMNS, [_row(found)])
    conditions = ((each.type, each.status, each.reason, each.message) for each in found.status.conditions)
    output.table("Conditions", ("condition", "", "reason", ""), conditions)
    served = ((each.bundle_generation, each.image) for each in found.status.history)
    output.table("What served, newest first", ("generation", "image"), served)


@app.command("rollback", epilog=output.examples("awm fleet rollback rover -n team-red"))
def rollback(scenario: Scenario, namespace: Namespace, kubeconfig: Kubeconfig = None) -> None:
    """Serve again what served before, as a new revision beside the one that runs."""
    wanted: model.Served = on_cluster(
        kubeconfig, lambda operations, connection: operations.roll_back(connection, namespace, scenario)
    )
    output.say(f"{scenario} goes back to generation {wanted.bundle_generation}: {wanted.image}")
    output.say(f"follow it with: awm fleet rollout status {scenario} -n {namespace}")


@_rollout.command("status", epilog=output.examples("awm fleet rollout status rover -n team-red --timeout 60"))
def rollout_status(
    scenario: Scenario,
    namespace: Namespace,
    kubeconfig: Kubeconfig = None,
    timeout: Annotated[float, typer.Option("--timeout", min=0.001, help="How long to wait, in seconds.")] = 300.0,
) -> None:
    """Wait until a scenario's newest revision serves and no other is left."""
    follow(scenario, namespace, kubeconfig, timeout, say=output.say)


def on_cluster(kubeconfig: str | None, ask: "Callable[[ModuleType, api.Api], Awaitable[_Answer]]") -> _Answer:
    """What comes of an operation on a cluster (`backends.kubernetes.operations`)."""
    operations = _operations()

    async def connected() -> _Answer:
        async with operations.connected(kubeconfig) as connection:
            return await ask(operations, connection)

    return asyncio.run(connected())


def follow(
    scenario: str, namespace: str, kubeconfig: str | None, patience_s: float, *, say: Callable[[str], None]
) -> str:
    """Waits for the end of a rollout, and says how far it is; returns the last of it.

    Raises:
        PermanentError: It does not come to its end, or not in time.
    """

    async def ask(operations: "ModuleType", connection: "api.Api") -> str:
        last = ""
        async for progress in operations.rollout(connection, namespace, scenario, patience_s=patience_s):
            last = progress.message
            say(last)
        return last

    return on_cluster(kubeconfig, ask)


def _operations() -> "ModuleType":
    """What needs the Kubernetes client, which is heavy and an extra.

    Raises:
        PermanentError: It is not installed.
    """
    try:
        from awm_fleet.backends.kubernetes import operations
    except ImportError as exc:
        raise errors.PermanentError(
            f"{exc.name} is not installed: install awm-fleet with its extra, `awm-fleet[kubernetes]`"
        ) from exc
    return operations


def _row(found: "model.Environment") -> tuple[Any, ...]:
    status = found.status
    ready = status.condition("Ready")
    reason = f"{ready.reason}: {ready.message}" if ready else "not looked at yet"
    generation = status.bundle_generation or found.bundle_generation
    return found.scenario, status.state, generation, status.tools, status.revision, status.replicas, reason


def _document(found: "model.Environment") -> dict[str, Any]:
    return {"name": found.name, **dataclasses.asdict(found), "status": found.status.document()}
