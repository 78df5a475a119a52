"""The connection to an API server, on a real one."""

import asyncio
from pathlib import Path

from awm_fleet.backends.kubernetes import api
from cluster import fleets


def test_a_closed_connection_leaves_no_socket_not_even_that_of_a_watch_in_the_middle(fleet: fleets.Fleet) -> None:
    async def play() -> tuple[set[str], set[str]]:
        before = sockets()
        connection = await api.Api.connect(str(fleet.cluster.kubeconfig))
        _, version = await connection.list(api.PODS, fleet.namespace)
        watching = connection.watch(api.PODS, fleet.namespace, "", version)
        await anext(watching)
        open_ = sockets()
        await watching.aclose()  # type: ignore[attr-defined]
        await connection.close()
        return open_ - before, sockets() - before

    opened, left = asyncio.run(play())
    assert opened
    assert left == set()


def sockets() -> set[str]:
    """The sockets of this process."""
    links = []
    for each in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(each.readlink()))
        except FileNotFoundError:
            continue  # that of the folder
    return {each for each in links if each.startswith("socket:")}
