"""A running instance as tests use it: its clients, its log, its processes."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

from awm_registry import client
from awm_runtime.contract import episodes
from awm_runtime.server import launching

INSTANCE = "awm_runtime.server.instance"
JUDGE = "awm_runtime.verification.judge"
"""The modules that a keeper's children run."""

T = TypeVar("T")


def wait_for(get: Callable[[], T], *, within_s: float = 20.0) -> T:
    """Asks until the answer is true; an instance that is coming back refuses connections meanwhile.

    Raises:
        AssertionError: it never was; the message says what was seen last.
    """
    deadline = time.monotonic() + within_s
    seen: object = None
    while time.monotonic() < deadline:
        try:
            answer = get()
        except (client.Unreachable, httpx.TransportError) as exc:
            seen = exc
        else:
            if answer:
                return answer
            seen = answer
        time.sleep(0.02)
    raise AssertionError(f"not within {within_s:g} s; seen last: {seen!r}")


class Running:
    """A running instance.

    Attributes:
        control: A client of its control plane.
        http: A plain client of its control plane, for what the other one cannot say.
        keeper: Its keeper's process.
        state: Its state folder.
    """

    def __init__(self, launched: launching.Launched, state: Path, token: str | None) -> None:
        self.address = launched.address
        self.state = state
        self.keeper = psutil.Process(launched.process.pid)
        self.control = client.ControlClient(self.address.control_url, token=token)
        self.http = httpx.Client(base_url=self.address.control_url, timeout=30)
        self._tools: dict[str, client.ToolClient] = {}

    def open(self, **item: Any) -> episodes.EpisodeView:
        """Opens one episode."""
        [episode] = self.control.open(**item)
        return episode

    def call(self, episode: episodes.EpisodeView, tool: str, **arguments: Any) -> client.Reply:
        """Calls a tool of an episode."""
        return self.tools(episode.mcp_url).call(tool, arguments)

    def tools(self, url: str) -> client.ToolClient:
        """The client of an MCP URL."""
        if url not in self._tools:
            self._tools[url] = client.ToolClient(url)
        return self._tools[url]

    def process(self, module: str) -> psutil.Process:
        """The keeper's child that runs `module`."""
        return next(each for each in self.keeper.children() if module in each.cmdline())

    def log(self) -> str:
        """What was logged so far."""
        return (self.state / "instance.log").read_text()

    def metric(self, line: str) -> float:
        """The value of a metric, named with its labels."""
        text = self.http.get("/metrics").text
        return next(float(each.rpartition(" ")[2]) for each in text.splitlines() if each.startswith(f"{line} "))

    def close(self) -> None:
        """Closes the clients."""
        with contextlib.ExitStack() as stack:
            for each in (self.control, *self._tools.values()):
                stack.enter_context(each)
            stack.callback(self.http.close)


@contextlib.contextmanager
def running(bundle: Path, state: Path, *, token: str | None = None, **settings: Any) -> Iterator[Running]:
    """Serves a bundle for the length of a `with` block.

    Args:
        bundle: The bundle's folder.
        state: The state folder.
        token: The control plane's token.
        settings: By the names of `awm_runtime.server.settings`.
    """
    variables = {f"AWM_{name.upper()}": str(value) for name, value in settings.items()}
    if token is not None:
        variables["AWM_CONTROL_TOKEN"] = token
    with launching.launched(bundle, state, settings=variables) as launched:
        instance = Running(launched, state, token)
        try:
            yield instance
        finally:
            instance.close()
