"""What the controller asks instances, by their pods' addresses: for their tools, whether they are used, to drain."""

import asyncio
import re
from typing import Any

import httpx
import pydantic

from awm_fleet.backends.kubernetes import model, objects
from awm_registry.client import messages
from awm_runtime import errors
from awm_runtime.bundle import digest
from awm_runtime.contract import episodes

_TIMEOUT_S = 10.0
_LARGEST_ANSWER = 8 * 1024 * 1024
_USES = ("awm_calls_total", "awm_episodes_opened_total", "awm_episodes_reset_total")
_METRIC = re.compile(r"^(awm_[a-z_]+)(?:\{[^}]*\})? ([0-9.e+-]+)$", re.MULTILINE)


class NoAnswer(errors.TransientError):
    """An instance did not answer, or not as one does."""


class _Episode(pydantic.BaseModel):
    id: str
    state: str
    group: str | None = None


class _Episodes(pydantic.BaseModel):
    episodes: list[_Episode]


class Instances:
    """Speaks to pods.

    Args:
        http: The client to speak with.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self.handshakes = 0

    async def tools(self, pod: model.Pod) -> model.ToolList:
        """The handshake of MCP and the whole tool list, as an agent would see them.

        Raises:
            NoAnswer: It is no MCP server that lists tools.
        """
        self.handshakes += 1
        url = f"http://{pod.address}:{objects.AGENT_PORT}/mcp"
        who = {"name": "awm-controller", "version": "0.1.0"}
        await self._mcp(url, "initialize", protocolVersion=messages.PROTOCOL, capabilities={}, clientInfo=who)
        page = await self._mcp(url, "tools/list")  # an instance lists all its tools on one page
        tools = page.get("tools")
        if not isinstance(tools, list) or not all(isinstance(each, dict) for each in tools):
            raise NoAnswer("the tool list is none")
        try:
            return model.ToolList(pod.uid, digest.tools_hash(tools), len(tools))
        except (ValueError, RecursionError) as exc:
            raise NoAnswer("the tool list is no JSON that can be hashed") from exc

    async def drain(self, pod: model.Pod, token: str) -> bool:
        """Asks an instance to open no more episodes; whether it agreed.

        Raises:
            NoAnswer: It answers something else.
        """
        response = await self._send("POST", f"{_control(pod)}/v1/drain", headers={"Authorization": f"Bearer {token}"})
        if response.status_code == httpx.codes.CONFLICT:
            return False
        if not response.is_success:
            raise NoAnswer(f"POST /v1/drain: {response.status_code}")
        return True

    async def used(self, pod: model.Pod) -> float:
        """How often an instance was used since it started; asking does not count.

        Raises:
            NoAnswer: It does not say.
        """
        response = await self._send("GET", f"{_control(pod)}/metrics")
        counts = [float(value) for name, value in _METRIC.findall(response.text) if name in _USES]
        if not counts:
            raise NoAnswer("its metrics do not tell how often it was used")
        return sum(counts)

    async def is_busy(self, pod: model.Pod, token: str) -> bool:
        """Whether an episode is open. Default ones do not count: they come back by themselves.

        Raises:
            NoAnswer: It does not say.
        """
        headers = {"Authorization": f"Bearer {token}"}
        response = await self._send("GET", f"{_control(pod)}/v1/episodes", headers=headers)
        try:
            found = _Episodes.model_validate_json(response.content)
        except ValueError as exc:
            raise NoAnswer(f"GET /v1/episodes: {response.status_code} is no list of episodes") from exc
        return any(each.state == "open" and not episodes.is_default(each.id, each.group) for each in found.episodes)

    async def _mcp(self, url: str, method: str, **params: Any) -> dict[str, Any]:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": messages.PROTOCOL}
        response = await self._send("POST", url, json=message, headers=headers)
        try:
            result = response.json()["result"]
        except (ValueError, KeyError, TypeError, RecursionError) as exc:
            raise NoAnswer(f"{method}: {response.status_code} is no answer of an MCP server") from exc
        if not isinstance(result, dict):
            raise NoAnswer(f"{method}: the result is no object")
        return result

    async def _send(self, method: str, url: str, **options: Any) -> httpx.Response:
        """One request with a limited answer: whoever answers may be hostile."""
        try:
            async with asyncio.timeout(_TIMEOUT_S), self._http.stream(method, url, **options) as response:
                content = b""
                async for chunk in response.aiter_bytes():
                    content += chunk
                    if len(content) > _LARGEST_ANSWER:
                        raise NoAnswer("the answer is larger than any tool list")
        except (httpx.HTTPError, TimeoutError) as exc:
            raise NoAnswer(f"{method} {url}: {str(exc) or type(exc).__name__}") from exc
        return httpx.Response(response.status_code, content=content)


def _control(pod: model.Pod) -> str:
    return f"http://{pod.address}:{objects.CONTROL_PORT}"
