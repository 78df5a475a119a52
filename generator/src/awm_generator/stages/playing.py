"""Plays oracles in real episodes: an instance is started for a bundle, and each play has an episode of its own."""

import contextlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from awm_generator import oracles
from awm_generator.stages import outcomes
from awm_runtime import errors
from awm_runtime.bundle import model
from awm_runtime.server import launching

_TIMEOUT_S = 120.0
_PROTOCOL = "2025-11-25"
_SHOWN = 300
_MOST_LINES = 40


@dataclass(frozen=True)
class Call:
    """A call that was made, and what was answered."""

    tool: str
    arguments: dict[str, Any]
    reply: Any
    is_error: bool


@dataclass(frozen=True)
class Played:
    """What came of playing an oracle.

    Attributes:
        before: The episode's database before the first call.
        after: Its database afterwards.
        answer: The final answer.
        calls: The calls that were made.
        changes: Row changes by table.
        stopped: Why it could not be played to its end; empty where it was.
    """

    before: Path
    after: Path
    answer: str | None
    calls: tuple[Call, ...]
    changes: dict[str, Any] = field(default_factory=dict)
    stopped: str = ""

    def evidence(self) -> str:
        """What happened, as text for a prompt."""
        lines = []
        for number, call in enumerate(self.calls[:_MOST_LINES], start=1):
            arguments = _short(json.dumps(call.arguments, ensure_ascii=False))
            what = "refused: " if call.is_error else ""
            lines.append(f"{number}. {call.tool}({arguments}) -> {what}{_short(call.reply)}")
        if self.stopped:
            lines.append(f"stopped: {self.stopped}")
        lines.append(f"answer: {self.answer!r}")
        changed = json.dumps(self.changes, ensure_ascii=False) if self.changes else "none"
        lines.append(f"rows that changed: {changed[:2000]}")
        return "\n".join(lines)


class Host:
    """A running instance.

    Args:
        address: Where it answers.
        folder: Where snapshots go.
    """

    def __init__(self, address: Any, folder: Path, client: httpx.Client) -> None:
        self._address, self._folder, self._client = address, folder, client
        self._numbers = itertools.count(1)

    def play(self, oracle: model.Oracle, task: str) -> Played:
        """Plays an oracle in a fresh episode.

        Raises:
            PermanentError: the instance does not do what instances do.
        """
        try:
            return self._play(oracle, task)
        except (httpx.HTTPError, ValueError, LookupError) as exc:
            raise errors.PermanentError(f"the instance of the scenario failed: {exc}") from exc

    def _play(self, oracle: model.Oracle, task: str) -> Played:
        opened = self._control("POST", "/v1/episodes", json={"episodes": [{"task": task, "seed": 0}]}).json()
        if not opened["episodes"]:
            raise errors.PermanentError(f"no episode for task {task}: {opened['rejected']}")
        episode = opened["episodes"][0]
        made: list[Call] = []
        answer, stopped = None, ""
        try:
            replay = oracles.replay(oracle, lambda tool, arguments: self._call(episode, tool, arguments, made))
            answer = replay.answer
        except oracles.OracleError as exc:
            stopped = str(exc)
        path = f"/v1/episodes/{episode['id']}"
        number = next(self._numbers)
        before, after = (
            self._snapshot(f"{path}/snapshot?which={which}", self._folder / f"{number}-{which}.db")
            for which in ("initial", "current")
        )
        changes = self._control("GET", f"{path}/diff").json()
        self._control("DELETE", path)
        return Played(before, after, answer, tuple(made), changes, stopped)

    def _call(self, episode: dict[str, Any], tool: str, arguments: dict[str, Any], made: list[Call]) -> Any:
        message = {
            "jsonrpc": "2.0",
            "id": len(made) + 1,
            "method": "tools/call",
            "params": {"name": tool, "arguments": arguments},
        }
        headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": _PROTOCOL}
        answered = self._client.post(episode["mcp_url"], json=message, headers=headers).json()
        if "error" in answered:
            made.append(Call(tool, arguments, answered["error"].get("message", ""), is_error=True))
            raise oracles.OracleError(f"call {len(made)} ({tool}): {answered['error'].get('message', 'failed')}")
        result = answered["result"]
        text = "".join(part.get("text", "") for part in result.get("content", ()))
        try:
            reply = json.loads(text)
        except ValueError:
            reply = text
        made.append(Call(tool, arguments, reply, bool(result.get("isError"))))
        return reply

    def _snapshot(self, path: str, file: Path) -> Path:
        file.write_bytes(self._control("GET", path).content)
        return file

    def _control(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._client.request(method, f"{self._address.control_url}{path}", **options).raise_for_status()


@contextlib.contextmanager
def hosted(bundle: Path, folder: Path) -> Iterator[Host]:
    """An instance of a bundle, for as long as a `with` block lasts.

    Args:
        bundle: The bundle's folder.
        folder: Where episodes and snapshots live.

    Raises:
        Quarantined: it does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            launched = stack.enter_context(launching.launched(bundle, folder / "state", dies_with_caller=True))
        except errors.PermanentError as exc:
            raise outcomes.Quarantined(f"it cannot be served: {exc}") from exc
        client = stack.enter_context(httpx.Client(timeout=_TIMEOUT_S))
        yield Host(launched.address, folder, client)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
