"""`awm router`: what answers for a fleet, as a process of its own."""

import contextlib
import logging
import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from awm_fleet.cli import output
from awm_registry.router import serving, settings
from awm_runtime import errors
from awm_runtime.server import logs
from awm_runtime.server import sockets as listening

EXAMPLES = output.examples(
    "awm router --config config.json --keys keys --episode-ids episode-ids.key --url http://awm.example",
    "awm router --config config.json --keys keys --episode-ids episode-ids.key --kubeconfig ~/.kube/config",
)


def router(
    config: Annotated[Path, typer.Option("--config", help="Teams and pods, as the chart writes them.")],
    keys: Annotated[Path, typer.Option("--keys", help="A folder with a folder of keys for each team, by its name.")],
    episode_ids: Annotated[
        Path, typer.Option("--episode-ids", help="The file with the key that episodes' ids are sealed with.")
    ],
    index: Annotated[Path | None, typer.Option("--index", help="The catalogue's index: it tells tiers.")] = None,
    metadata: Annotated[
        Path,
        typer.Option("--metadata", help="The catalogue's folder: titles, tasks and tools, also of what sleeps."),
    ] = Path("catalogue"),
    kubeconfig: Annotated[
        str | None,
        typer.Option("--kubeconfig", help="The way to the cluster; by default the pod's own, or KUBECONFIG's."),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="The address of all ports.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Agents' port: MCP. 0: any.")] = 8001,
    control_port: Annotated[
        int, typer.Option("--control-port", min=0, max=65535, help="Trainers' port: episodes, the catalogue. 0: any.")
    ] = 8002,
    metrics_port: Annotated[
        int, typer.Option("--metrics-port", min=0, max=65535, help="The port of probes and /metrics. 0: any.")
    ] = 8080,
    url: Annotated[
        str | None,
        typer.Option("--url", help="Where agents reach the router, without a path; by default at its own port."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="A host name to answer beside HOST; `*` is for all."),
    ] = None,
) -> None:
    """Answer for a fleet on Kubernetes until Ctrl-C: one URL before the scenarios of all teams.

    Each team's scenarios are at /t/TEAM/s/NAME/mcp, its episodes at /t/TEAM/e/ID/mcp, its control plane below
    /t/TEAM/v1. Any number of routers may serve the same fleet. `awm up` has its own routers.
    """
    try:
        import uvloop

        from awm_fleet.backends.kubernetes import routing
    except ImportError as exc:
        raise errors.PermanentError(
            f"{exc.name} is not installed: install awm-fleet with its extra, `awm-fleet[kubernetes]`"
        ) from exc
    logs.to_standard_error(watched=False)
    with contextlib.ExitStack() as stack:
        agent, control, metrics = (
            stack.enter_context(listening.listen(host, each)) for each in (port, control_port, metrics_port)
        )
        options = routing.Options(
            config=config,
            keys=keys,
            episode_ids=episode_ids,
            index=index,
            metadata=metadata,
            kubeconfig=kubeconfig,
            host=host,
            url=url or listening.url(host, agent),
            host_names=allow_host or (),
            limits=settings.Settings.from_environment(os.environ),
        )
        _announce(host, agent=agent, control=control, metrics=metrics)
        uvloop.run(routing.serve(options, serving.Sockets(agent=agent, control=control, metrics=metrics)))


def _announce(host: str, **planes: socket.socket) -> None:
    said = ", ".join(f"{name} {listening.url(host, each)}" for name, each in planes.items())
    logging.getLogger("awm.router").info("listens: %s", said)
