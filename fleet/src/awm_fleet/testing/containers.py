"""A scenario in a container for the length of a test, on testcontainers' own base class."""

import hashlib
import importlib.metadata
import secrets
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import HttpWaitStrategy

from awm_fleet import examples
from awm_generator.images import assembly, layers, outputs, references, sources
from awm_registry import client
from awm_runtime.contract import episodes, verdicts
from awm_runtime.server import __main__ as server

AGENT_PORT, CONTROL_PORT = 8001, 8002
DEFAULT_BASE = f"docker:awm-runtime:{importlib.metadata.version('awm-fleet')}"
"""What `make images` gives the engine."""
_SCRATCH = "rw,noexec,nosuid,nodev,size=64m"
_START = timedelta(seconds=60)
_HARDENED = {
    "cap_drop": ["ALL"],
    "pids_limit": 512,
    "read_only": True,
    "security_opt": ["no-new-privileges:true"],
}


@dataclass(frozen=True)
class Episode:
    """An open episode of a scenario's container.

    Attributes:
        id: Its id.
        mcp_url: Where an agent reaches it from the tests' machine.
        instruction: Of its task; None without a task.
        view: All that the control plane says of it.
        control: A client of the control plane.
    """

    id: str
    mcp_url: str
    instruction: str | None
    view: episodes.EpisodeView
    control: client.ControlClient

    def call(self, tool: str, /, **arguments: Any) -> client.Reply:
        """Calls a tool as an agent would."""
        with client.ToolClient(self.mcp_url) as tools:
            return tools.call(tool, arguments)

    def verify(self, answer: str | None = None) -> verdicts.Verdict:
        """Judges the episode by its task's verifier."""
        return self.control.verify(self.id, verdicts.VerifyRequest(answer=answer))

    def diff(self) -> dict[str, Any]:
        """What changed in its database, by table."""
        return self.control.diff(self.id)


class ScenarioContainer(DockerContainer):
    """A scenario that is served for the length of a `with` block.

    Args:
        image_or_bundle: An image that the engine has or can pull; or the folder of a bundle or the name of an example,
            from which the image is built on `base`.
        base: The runtime's base image, for a bundle: `docker:NAME`, `oci:DIR` or another reference of `awm image`.
        options: What testcontainers' `DockerContainer` takes.

    Raises:
        AwmError: The image cannot be built.
    """

    def __init__(self, image_or_bundle: str | Path, *, base: str = DEFAULT_BASE, **options: Any) -> None:
        self._token = secrets.token_urlsafe(24)
        self._control: client.ControlClient | None = None
        super().__init__(_image(image_or_bundle, base), **options)
        self.with_exposed_ports(AGENT_PORT, CONTROL_PORT)
        self.with_env(server.TOKEN_HASH_VARIABLE, hashlib.sha256(self._token.encode()).hexdigest())
        self.with_kwargs(**_HARDENED)
        self.with_tmpfs_mount("/tmp", _SCRATCH)  # noqa: S108 - the container's
        ready = HttpWaitStrategy(CONTROL_PORT, "/readyz").for_status_code(200).with_startup_timeout(_START)
        self.waiting_for(ready)

    @property
    def mcp_url(self) -> str:
        """The MCP URL of the default episode."""
        return f"{self._url(AGENT_PORT)}/mcp"

    @property
    def control_url(self) -> str:
        """The control plane, without a path."""
        return self._url(CONTROL_PORT)

    @property
    def control_token(self) -> str:
        """What opens the control plane."""
        return self._token

    def open_episode(self, *, task: str | None = None, seed: int | None = None) -> Episode:
        """Opens an episode.

        Args:
            task: The task's id; without one there is nothing to verify.
            seed: The seed of its randomness.
        """
        if self._control is None:
            self._control = client.ControlClient(self.control_url, token=self._token)
        control = self._control
        wanted = {name: value for name, value in (("task", task), ("seed", seed)) if value is not None}
        [view] = control.open(**wanted)
        return Episode(view.id, f"{self._url(AGENT_PORT)}/e/{view.id}/mcp", view.instruction, view, control)

    def stop(self, force: bool = True, delete_volume: bool = True) -> None:
        """Ends and removes it, with its episodes."""
        super().stop(force, delete_volume)
        if self._control is not None:
            self._control.__exit__(None, None, None)
            self._control = None
        self.get_docker_client().client.close()

    def _url(self, port: int) -> str:
        return f"http://{self.get_container_host_ip()}:{self.get_exposed_port(port)}"


def _image(image_or_bundle: str | Path, base: str) -> str:
    """The image to start: a bundle's is built into the engine."""
    folder = Path(image_or_bundle)
    if str(image_or_bundle) in examples.names():
        folder = examples.path(str(image_or_bundle))
    if not (folder / "scenario.json").exists():
        return str(image_or_bundle)
    access = sources.Access()
    layer = layers.build(folder)
    reference = references.parse(base)
    with sources.opened(reference, access) as found, outputs.opened(references.parse("docker:"), access) as engine:
        assembly.check_base(found, base)
        [stored] = engine.put([(layer.scenario, layer.generation, assembly.assemble(found, layer))])
    return references.parse(stored.reference).place
