"""What a container is to be, worked out before the engine is asked: names, labels, and what it may do."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from awm_fleet.backends import identities, protocol
from awm_registry import directory
from awm_runtime.server import __main__ as server
from awm_runtime.server import settings

FLEET = "dev.awm.fleet"
SPEC = "dev.awm.fleet.spec"
REVISION = "dev.awm.fleet.revision"
AGENT_PORT, CONTROL_PORT = 8001, 8002
USER = "10001:10001"
_MIB = 1 << 20
_KEYS = "/keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a container may use at most.

    Attributes:
        memory_bytes: Memory, without swap.
        cpus: Processors.
        pids: Processes and threads.
        scratch_bytes: Files outside of episodes, in memory.
        log_bytes: Of each of two log files that the engine keeps.
    """

    memory_bytes: int = 1024 * _MIB
    cpus: float = 2.0
    pids: int = 512
    scratch_bytes: int = 64 * _MIB
    log_bytes: int = 10 * _MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A container before it is made.

    Attributes:
        spec: What is wanted.
        image: The image's id at the engine.
        fleet: The name of the fleet that it belongs to.
        limits: What it may use.
        token: What opens its control plane; only its hash goes into the container.
        keys: The public keys of the tokens that routers sign, which it checks instead on both planes.
    """

    spec: protocol.EnvironmentSpec
    image: str
    fleet: str
    limits: Limits
    token: str
    keys: Path | None = None

    @property
    def id(self) -> directory.InstanceId:
        return identities.instance_id(self.spec)

    @property
    def name(self) -> str:
        """The container's name, and its volume's."""
        return object_name(self.fleet, self.id)

    @property
    def revision(self) -> str:
        """Changes with whatever a running container cannot take in."""
        document = {name: value for name, value in self._document().items() if name != "idle_s"}
        keys = [] if self.keys is None else [str(self.keys)]
        said = json.dumps([document, asdict(self.limits), self.token_hash, *keys], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    @property
    def token_hash(self) -> str:
        return hashlib.sha256(self.token.encode()).hexdigest()

    def labels(self) -> dict[str, str]:
        """By which it is found again, and what it was made for."""
        return {FLEET: self.fleet, SPEC: json.dumps(self._document(), sort_keys=True), REVISION: self.revision}

    def _document(self) -> dict[str, Any]:
        """The spec, on the very image; without what is a matter of this machine's folders."""
        fields = {name: getattr(self.spec, name) for name in ("team", "scenario", "generation", "digest", "idle_s")}
        return {**fields, "image": self.image, "settings": dict(self.spec.settings)}

    def options(self) -> dict[str, Any]:
        """How the Docker SDK's `create_host_config` takes it: nothing that a scenario does not need."""
        return {
            "binds": {self.name: {"bind": "/state", "mode": "rw"}, **self._keys_bind()},
            "cap_drop": ["ALL"],
            "log_config": {"Type": "json-file", "Config": {"max-size": str(self.limits.log_bytes), "max-file": "2"}},
            "mem_limit": self.limits.memory_bytes,
            "memswap_limit": self.limits.memory_bytes,
            "nano_cpus": int(self.limits.cpus * 1e9),
            "pids_limit": self.limits.pids,
            "privileged": False,
            "read_only": True,
            "restart_policy": {"Name": "no"},
            "security_opt": ["no-new-privileges:true"],
            "tmpfs": {"/tmp": f"rw,noexec,nosuid,nodev,size={self.limits.scratch_bytes}"},  # noqa: S108
        }

    def variables(self) -> dict[str, str]:
        """Its environment; settings of an instance and no others, so that no secret gets in by mistake."""
        known = {f"{settings.PREFIX}{name.upper()}" for name in settings.Settings.__dataclass_fields__}
        chosen = {name: value for name, value in self.spec.settings.items() if name in known}
        return {**chosen, **self._admission()}

    def _keys_bind(self) -> dict[str, dict[str, str]]:
        return {} if self.keys is None else {str(self.keys.parent): {"bind": _KEYS, "mode": "ro"}}

    def _admission(self) -> dict[str, str]:
        """How it tells who may use it."""
        if self.keys is None:
            return {server.TOKEN_HASH_VARIABLE: self.token_hash}
        return {
            server.KEYS_VARIABLE: f"{_KEYS}/{self.keys.name}",
            server.ID_VARIABLE: self.id,
            server.TEAM_VARIABLE: self.spec.team,
        }


def object_name(fleet: str, id: str) -> str:
    """What a container and its volume are called."""
    return f"awm-{fleet}-{id}"


def token(secret: bytes, id: str) -> str:
    """The control token of an instance, the same after a restart of the fleet."""
    return hmac.new(secret, id.encode(), hashlib.sha256).hexdigest()


def parsed(labels: Mapping[str, str]) -> protocol.EnvironmentSpec:
    """What a container was made for.

    Raises:
        ValueError: Its labels do not say so.
    """
    fields = json.loads(labels[SPEC])
    if not isinstance(fields, dict):
        raise TypeError("the label is no object")
    return protocol.EnvironmentSpec(**fields)
