"""Serves environment.py on a free port, as a process: prints its address, then answers until it is ended."""

import socket
from collections.abc import Mapping, Sequence
from typing import Any

import environment
import httpx
import uvicorn
from awm_runtime.contract import problems
from awm_runtime.server import agent_plane, hosts, tool_host

EPISODE = "ep_conformance"


class ScenarioHost:
    """Calls the scenario's routes in process, for one episode without any state."""

    name = "conformance"
    title = "Conformance"
    description = environment.app.description
    version = "1"

    def __init__(self) -> None:
        transport = httpx.ASGITransport(app=environment.app)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://scenario")
        self._routes = {
            operation["operationId"]: (method.upper(), path, operation)
            for path, methods in environment.app.openapi()["paths"].items()
            for method, operation in methods.items()
        }

    def listed(self) -> Sequence[Mapping[str, Any]]:
        return [
            {"name": name, "description": operation["summary"], "inputSchema": _input_schema(operation)}
            for name, (_, _, operation) in self._routes.items()
        ]

    def check(self, episode: str) -> None:
        if episode != EPISODE:
            raise problems.ProblemError(problems.Code.UNKNOWN_EPISODE, "There is no such episode.")

    async def default_episode(self) -> str:
        return EPISODE

    async def call(self, episode: str, tool: str, arguments: dict[str, Any]) -> tool_host.ToolReply:
        self.check(episode)
        if tool not in self._routes:
            return tool_host.ToolReply("There is no such tool.", is_error=True)
        method, path, _ = self._routes[tool]
        response = await self._client.request(method, path, json=arguments if method == "POST" else None)
        return tool_host.ToolReply(response.text, is_error=response.is_error)


def _input_schema(operation: Mapping[str, Any]) -> Any:
    body = operation.get("requestBody")
    return body["content"]["application/json"]["schema"] if body else {"type": "object", "properties": {}}


def main() -> None:
    """Serve until the process is ended."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    app = agent_plane.AgentPlane(ScenarioHost(), guard=hosts.guard(), request_limit_bytes=4 * 1024 * 1024)
    config = uvicorn.Config(app, loop="uvloop", http="httptools", lifespan="off", log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
