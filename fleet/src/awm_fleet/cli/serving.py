"""Serves one environment in the foreground, for a person who watches."""

import os
from collections.abc import Sequence
from pathlib import Path

from awm_fleet.cli import calling, locating, output
from awm_generator import reseeding
from awm_runtime.bundle import model, reading, writing
from awm_runtime.server import keeper, logs
from awm_runtime.server.__main__ import TOKEN_VARIABLE

DEFAULT_STATE = Path(".awm/instances")


def serve(
    folder: Path, state: Path, *, host: str, port: int, control_port: int | None, allowed_hosts: Sequence[str]
) -> None:
    """Serves a bundle until Ctrl-C.

    Args:
        folder: The bundle's folder.
        state: Where episodes are kept.
        host: The address of both planes.
        port: The agent plane's port; 0: any.
        control_port: The control plane's; None: the one after `port`.
        allowed_hosts: Host names that are answered beside the loopback ones; `*` for all.

    Raises:
        BundleError: The bundle cannot be read.
        PermanentError: A port is taken, a token is missing, or the code does not load.
    """
    logs.to_standard_error(watched=True)
    options = keeper.Options(
        bundle=folder,
        state=state,
        host=host,
        port=port,
        control_port=control_port if control_port is not None else (port and port + 1),
        token=os.environ.get(TOKEN_VARIABLE),
        host_names=tuple(allowed_hosts),
        watched=True,
    )
    keeper.serve(options, on_ready=lambda address: _announce(folder, address))


def imported(scenario: str, files: dict[str, Path], out: Path, *, seed: Path | None) -> Path:
    """Imports a scenario of AWM's files and returns its bundle; every defect is named on standard error.

    Args:
        scenario: Its name.
        files: AWM's files by the names that they are known by.
        out: Where the bundle goes.
        seed: An SQLite file whose content replaces the samples'; it may be missing.

    Raises:
        BundleError: The scenario is missing, a line is broken, or `seed` is no database.
        EnvironmentCodeError: Its code cannot be used.
    """
    bundle = locating.imported(scenario, files, out)
    for finding in bundle.report.findings:
        output.warn(f"{finding.action} {finding.stage} {finding.subject}: {finding.detail}")
    if seed is None:
        return bundle.root
    if not seed.exists():
        output.warn(f"{seed}: no such file yet, so the samples are the seed")
        return bundle.root
    return writing.write(reseeding.from_file(bundle, seed), bundle.root).root


def _announce(folder: Path, address: keeper.Address) -> None:
    bundle = reading.read(folder)
    lines = {
        "MCP": address.mcp_url,
        "control": f"{address.control_url}/v1/episodes",
        "next": f"{_next_command(bundle, address)}   (in a second terminal)",
        "stop": "Ctrl-C",
    }
    output.say(f"\n{bundle.scenario.title}: {len(bundle.tools)} tools, {len(bundle.tasks)} tasks", "bold green")
    for name, text in lines.items():
        output.say(f"  {name:<8} {text}")
    output.out.print()


def _next_command(bundle: model.Bundle, address: keeper.Address) -> str:
    """What to try next, as a person can paste it."""
    if any(task.oracle is not None for task in bundle.tasks):
        return f"{calling.awm()} demo {locating.short_name(bundle.root)}"
    return f"{calling.awm()} env check --url {address.mcp_url}"
