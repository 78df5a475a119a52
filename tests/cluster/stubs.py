"""One stub that answers for every simulated pod: which pod is asked is told by the address that was dialled."""

import contextlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send

from awm_runtime.bundle import digest

TOOLS: Sequence[dict[str, Any]] = [
    {"name": "look", "description": "Looks.", "inputSchema": {"type": "object", "properties": {}}},
    {"name": "take", "description": "Takes.", "inputSchema": {"type": "object", "properties": {}}},
]
TOOLS_HASH = digest.tools_hash(TOOLS)
_PORTS = (8001, 8002)


class Stub:
    """What simulated pods answer.

    Attributes:
        tools: What a pod lists, by address; the others list `TOOLS`.
        open: How many episodes are open in a pod, by address.
        silent: Pods that do not answer.
        drained: Pods that were drained.
        asked: How often each pod was asked for its tools.
    """

    def __init__(self) -> None:
        self.tools: dict[str, Sequence[dict[str, Any]]] = {}
        self.open: Counter[str] = Counter()
        self.silent: set[str] = set()
        self.drained: set[str] = set()
        self.asked: Counter[str] = Counter()
        self.everywhere: Sequence[dict[str, Any]] = TOOLS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        status, answer = self._answer(scope["server"][0], scope["path"], body)
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": content})

    def _answer(self, address: str, path: str, body: bytes) -> tuple[int, Any]:
        if address in self.silent:
            return 503, {}
        if path == "/v1/drain":
            if self.open[address]:
                return 409, {"code": "conflict"}
            self.drained.add(address)
            return 204, b""
        if path == "/metrics":
            return 200, b'awm_calls_total{outcome="ok"} 0.0\n'
        if path == "/v1/episodes":
            default = {"id": "ep_default", "state": "open", "group": None}
            return 200, {"episodes": [default, *({"id": "ep_1", "state": "open"} for _ in range(self.open[address]))]}
        request = json.loads(body)
        if request["method"] == "initialize":
            return 200, {"jsonrpc": "2.0", "id": 1, "result": {"serverInfo": {"name": "stub"}}}
        self.asked[address] += 1
        return 200, {"jsonrpc": "2.0", "id": 1, "result": {"tools": self.tools.get(address, self.everywhere)}}


@contextlib.contextmanager
def serving() -> Iterator[Stub]:
    """A stub that answers for the length of a `with` block, in the network of the thread that begins it."""
    stub = Stub()
    sockets = [socket.create_server(("0.0.0.0", port), backlog=2048) for port in _PORTS]
    config = uvicorn.Config(stub, log_config=None, access_log=False, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": sockets}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield stub
    finally:
        server.should_exit = True
        thread.join()
        for each in sockets:
            each.close()
