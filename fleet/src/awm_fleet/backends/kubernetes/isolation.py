"""Whether nodes enforce network policies, which nothing in a cluster tells: it is tried once for each node.

The controller may connect to a port of environments at which nobody listens, and they may not be reached at it. Where
such a connection is refused by the pod, and not by the network, nothing keeps an environment from reaching others.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Literal

from awm_fleet.backends.kubernetes import model, objects
from awm_runtime import errors

logger = logging.getLogger(__name__)

PORT = 8003
REASON = "NotIsolated"
Enforcement = Literal["require", "warn", "none"]

_ANSWER_S = 2.0
_LOOK_S = 0.5
_OPEN_AGAIN_S = 5.0
_PATIENCE_S = 4.0
"""A network may take a moment to learn of a new pod's policies."""


class NotIsolated(errors.TransientError):
    """A pod's node is not known to enforce network policies; to be asked again after `again_s`."""

    def __init__(self, message: str, again_s: float) -> None:
        super().__init__(message)
        self.again_s = again_s


class Isolation:
    """What is known of nodes.

    Args:
        enforcement: What becomes of pods on nodes that enforce nothing: they take no episode, or it is told, or nobody
            looks.
        tell: Is called once for each such node, with a pod of it and a sentence.
    """

    def __init__(self, enforcement: Enforcement, *, tell: Callable[[model.Pod, str], None]) -> None:
        self._enforcement = enforcement
        self._tell = tell
        self._closed: set[str] = set()
        self._open: dict[str, float] = {}
        self._asked: dict[str, model.Pod] = {}
        self._told: set[str] = set()
        self._wanted = asyncio.Event()

    def check(self, pod: model.Pod) -> None:
        """Has a pod's node looked at, unless it is known.

        Raises:
            NotIsolated: It does not enforce policies, or that is not known yet, and it has to be.
        """
        if self._enforcement == "none" or pod.node in self._closed:
            return
        if pod.address and (pod.node not in self._told or self._enforcement == "require"):
            self._asked.setdefault(pod.node, pod)
            self._wanted.set()
        if self._enforcement == "require":
            if pod.node in self._told:
                raise NotIsolated(_fault(pod.node), _OPEN_AGAIN_S)
            raise NotIsolated(f"node {pod.node} is being looked at", _LOOK_S)

    async def run(self) -> None:
        """Looks at nodes until it is cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await asyncio.gather(*(self._look(pod, pod.address or "") for pod in tuple(self._asked.values())))
            if self._asked:
                self._wanted.set()
                await asyncio.sleep(_LOOK_S)

    async def _look(self, pod: model.Pod, address: str) -> None:
        if not await reaches(address, PORT):
            # A pod that is gone is reached at no port, and says nothing of its node.
            if await reaches(address, objects.CONTROL_PORT):
                self._closed.add(pod.node)
            del self._asked[pod.node]
            return
        since = self._open.setdefault(pod.node, time.monotonic())
        if time.monotonic() - since >= _PATIENCE_S:
            del self._asked[pod.node]
            if pod.node not in self._told:
                self._told.add(pod.node)
                logger.warning(_fault(pod.node))
                self._tell(pod, _fault(pod.node))


async def reaches(address: str, port: int) -> bool:
    """Whether packets come to an address and back, whoever listens there."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            _, writer = await asyncio.open_connection(address, port)
    except ConnectionRefusedError:
        return True
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _fault(node: str) -> str:
    return (
        f"node {node} lets through what network policies forbid: use a network plug-in that enforces them; "
        "networkPolicy.enforcement says what becomes of its environments"
    )
