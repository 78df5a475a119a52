"""A router process beside a supervisor: `python -m awm_fleet.backends.process.routing`. Started by `routers`."""

import argparse
import asyncio
import contextlib
import logging
import os
import socket
import sys
from pathlib import Path
from typing import get_args

import uvloop

from awm_fleet.backends.process import clients, routers, states
from awm_registry.catalogue import sources
from awm_registry.router import app, ids, serving, settings, tracing
from awm_registry.tokens import authorities
from awm_runtime import errors, families
from awm_runtime.server import logs, sockets

ID_KEY = "episode-ids.key"


def main(arguments: list[str] | None = None) -> int:
    """Serves until SIGTERM; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    for plane in get_args(routers.Plane):
        parser.add_argument(f"--{plane}", type=int, metavar="FD", help="a listening socket")
    parser.add_argument("--state", type=Path, required=True, help="the fleet's state folder")
    parser.add_argument("--host", required=True, help="the address of the sockets")
    parser.add_argument("--parent", type=int, required=True, help="the supervisor, with which it ends")
    parser.add_argument("--keys", type=Path, help="the keys that tokens are signed with")
    parser.add_argument("--allow-host", action="append", default=[])
    parser.add_argument("--log_format", choices=get_args(logs.Format), default="text", help="how it logs")
    given = parser.parse_args(arguments)
    families.die_with(given.parent)
    families.name("awm:router")
    logs.to_standard_error(watched=True, form=given.log_format)
    tracing.install()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        limits = settings.Settings.from_environment(os.environ)
        listening = {plane: _socket(getattr(given, plane)) for plane in get_args(routers.Plane)}
        agent = listening["agent"]
        options = app.Options(
            id_key=ids.load_key(given.state / ID_KEY),
            host=given.host,
            agent_port=None if agent is None else agent.getsockname()[1],
            host_names=tuple(given.allow_host),
            limits=limits,
        )
        uvloop.run(_serve(given.state, serving.Sockets(**listening), options, keys=given.keys))
    except errors.AwmError as exc:
        logging.getLogger("awm.router").error("%s", exc)
        return 1
    return 0


def _socket(descriptor: int | None) -> socket.socket | None:
    return None if descriptor is None else socket.socket(fileno=descriptor)


async def _serve(state: Path, listening: serving.Sockets, options: app.Options, *, keys: Path | None) -> None:
    catalogues = sources.Catalogues(state / states.CATALOGUE)
    heard = clients.SupervisorDirectory(states.socket_path(state), catalogues, direct=sockets.is_loopback(options.host))
    async with heard.following() as fleet:
        router = app.create(
            fleet, catalogues, options, tokens=authorities.TokenAuthority(keys) if keys is not None else None
        )
        following = asyncio.create_task(catalogues.follow(), name="follow the catalogue")
        try:
            await serving.serve(router, listening, options.limits)
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following


if __name__ == "__main__":
    sys.exit(main())
