"""One stub that answers for every simulated pod: which pod is asked is told by the address that was dialled."""

import contextlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
        tokens: The last token that each pod was shown.
    """

    def __init__(self) -> None:
        self.tools: dict[str, Sequence[dict[str, Any]]] = {}
        self.open: Counter[str] = Counter()
        self.silent: set[str] = set()
        self.drained: set[str] = set()
        self.asked: Counter[str] = Counter()
        self.tokens: dict[str, str] = {}
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
        address = scope["server"][0]
        self.tokens[address] = dict(scope["headers"]).get(b"authorization", b"").decode().removeprefix("Bearer ")
        status, answer = self._answer(address, scope["path"], body)
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
        if path.endswith("/verify"):
            return 200, {"outcome": "completed", "reward": 1.0, "mask": False, "state_hash": "-"}
        if path.startswith("/v1/episodes/"):  # closed
            return 204, b""
        if path == "/v1/episodes" and body:
            return 201, {"episodes": _opened(json.loads(body)), "rejected": []}
        if path == "/v1/episodes":
            default = {"id": "ep_default", "state": "open", "group": None}
            return 200, {"episodes": [default, *({"id": "ep_1", "state": "open"} for _ in range(self.open[address]))]}
        request = json.loads(body)
        if request["method"] == "initialize":
            return 200, {"jsonrpc": "2.0", "id": request["id"], "result": {"serverInfo": {"name": "stub"}}}
        if request["method"] == "tools/call":
            said = {"content": [{"type": "text", "text": address}], "isError": False}
            return 200, {"jsonrpc": "2.0", "id": request["id"], "result": said}
        self.asked[address] += 1
        return 200, {
            "jsonrpc": "2.0",
            "id": request["id"],
            "result": {"tools": self.tools.get(address, self.everywhere)},
        }


def _opened(wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The episodes that a router asks for; of whichever scenario it says."""
    return [
        {
            "id": id,
            "scenario": each.get("scenario", "rover"),
            "generation": 1,
            "state": "open",
            "seed": 1,
            "group": each.get("group"),
            "mcp_url": "http://0.0.0.0:8001",
            "direct_url": "http://0.0.0.0:8001",
            "clock": "2026-01-15T09:00:00Z",
            "tools_hash": TOOLS_HASH,
            "expires_at": "2026-12-31T00:00:00Z",
        }
        for each in wanted["episodes"]
        for id in each["ids"]
    ]


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
