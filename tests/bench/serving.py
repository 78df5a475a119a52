"""An instance to measure, and a client that costs little.

The client is `http.client` on a kept connection: httpx takes half a millisecond for itself, which is what is measured.
"""

import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib import parse

import psutil

from awm_runtime.server import keeper, launching

SETTINGS = {"AWM_CALLS_PER_EPISODE": "100000000"}
"""The load generator makes more calls in an episode than any agent does."""

_PAUSE_S = 2.0


class Connection:
    """A kept connection that sends and receives JSON; made anew after a pause, in which the server hangs up."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(parse.urlsplit(url).netloc, timeout=120)
        self._used_at = time.monotonic()

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """Sends a request; the answer's JSON, None where it has no body.

        Raises:
            RuntimeError: The status is not one of success.
        """
        if time.monotonic() - self._used_at > _PAUSE_S:
            self.close()
        content = None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **(headers or {})} if content is not None else {}
        self._connection.request(method, path, content, sent)
        response = self._connection.getresponse()
        answer = response.read()
        self._used_at = time.monotonic()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {answer[:500]!r}")
        return json.loads(answer) if answer else None

    def close(self) -> None:
        """Hangs up."""
        self._connection.close()


class Instance:
    """A running instance, seen from outside."""

    def __init__(self, address: keeper.Address, keeper_pid: int) -> None:
        self.address = address
        self.control = Connection(address.control_url)
        self.agent = Connection(address.agent_url)
        self._keeper = psutil.Process(keeper_pid)

    def open(self, **spec: Any) -> list[str]:
        """Opens episodes; their ids."""
        opened = self.control.request("POST", "/v1/episodes", {"episodes": [spec]})
        if opened["rejected"]:
            raise RuntimeError(f"not opened: {opened['rejected']}")
        return [each["id"] for each in opened["episodes"]]

    def call(self, episode: str, tool: str, arguments: dict[str, Any] | None = None) -> Any:
        """Calls a tool; its reply as JSON values where it is JSON.

        Raises:
            RuntimeError: The call went wrong.
        """
        answer = self.agent.request("POST", f"/e/{episode}/mcp", call_message(tool, arguments or {}))
        result = answer.get("result")
        if result is None or result["isError"]:
            raise RuntimeError(f"{tool}: {answer}")
        text = result["content"][0]["text"]
        with contextlib.suppress(json.JSONDecodeError):
            return json.loads(text)
        return text

    def process(self, part: str) -> psutil.Process:
        """The process of the "instance" or the "judge"."""
        return next(each for each in self._keeper.children() if any(part in word for word in each.cmdline()[:4]))

    def cpu_seconds(self) -> float:
        """Processor time that the scenario's process has taken."""
        times = self.process("instance").cpu_times()
        return times.user + times.system

    def pss_mb(self, part: str | None = None) -> float:
        """Memory of one process, or of the keeper and its children: shared pages count by their share."""
        processes = [self.process(part)] if part else [self._keeper, *self._keeper.children(recursive=True)]
        return sum(_pss_kb(each.pid) for each in processes) / 1000

    def close(self) -> None:
        """Hangs up."""
        self.control.close()
        self.agent.close()


def call_message(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The JSON-RPC message of a tool call, without anything that only one era wants."""
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}


@contextlib.contextmanager
def serving(bundle: Path, state: Path) -> Iterator[Instance]:
    """Serves a bundle while the block runs."""
    with launching.launched(bundle, state, settings=SETTINGS) as launched:
        instance = Instance(launched.address, launched.process.pid)
        try:
            yield instance
        finally:
            instance.close()


def _pss_kb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(float(line.split()[1]) * 1.024 for line in lines if line.startswith("Pss:"))
