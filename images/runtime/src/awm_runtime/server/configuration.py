"""What a keeper tells the instance that it starts: one JSON document on its command line, and inherited descriptors."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from awm_runtime.server import hosts, settings

PRELOAD_VARIABLE = "AWM_PRELOAD"
"""Names modules that a zygote imports beside its own, for all that it forks."""
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "HOME")


@dataclass(frozen=True, kw_only=True)
class InstanceConfig:
    """Where an instance finds its parts.

    Attributes:
        bundle: The bundle's folder.
        state: The folder that its seed and episodes live in; nothing else is written.
        agent_url: Where agents reach it, without a path.
        host_names: The Host names that it answers; `*` for all.
        token_hash: SHA-256 (hex) of the control plane's token; None: none is asked for.
        watched: Whether a person reads the log.
        keys: The file with the public keys of the tokens that a router signs; None: no such token is taken.
        id: The id that control tokens for this instance alone name.
        team: Whose tokens open it; empty without teams.
    """

    bundle: str
    state: str
    agent_url: str
    host_names: tuple[str, ...] = hosts.LOOPBACK
    token_hash: str | None = None
    watched: bool = False
    keys: str | None = None
    id: str = ""
    team: str = ""

    @property
    def state_folder(self) -> Path:
        return Path(self.state)

    @property
    def seed(self) -> Path:
        return self.state_folder / "seed.db"

    @property
    def in_flight(self) -> Path:
        return self.state_folder / "inflight"

    @property
    def episodes(self) -> Path:
        return self.state_folder / "episodes"

    @property
    def scratch(self) -> Path:
        """Copies and other passing files; emptied at each start."""
        return self.state_folder / "scratch"

    @property
    def read_later(self) -> tuple[Path, ...]:
        """What is read while it serves: the folder of the keys, whose file is exchanged at a rotation."""
        return () if self.keys is None else (Path(self.keys).parent,)

    def text(self) -> str:
        """For the command line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def parse(cls, text: str) -> "InstanceConfig":
        """The other way round."""
        fields = json.loads(text)
        return cls(**{**fields, "host_names": tuple(fields["host_names"])})


@dataclass(frozen=True, kw_only=True)
class Descriptors:
    """What an instance inherits: its listening sockets, the judge's socket, the pipe that it reports its start on."""

    agent: int
    control: int
    judge: int
    report: int

    def text(self) -> str:
        """For the command line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def parse(cls, text: str) -> "Descriptors":
        """The other way round."""
        return cls(**json.loads(text))


def scrubbed(environment: Mapping[str, str]) -> dict[str, str]:
    """What an instance sees of the environment: no secret, and what makes runs repeat."""
    kept = {name: environment[name] for name in _KEPT_VARIABLES if name in environment}
    ours = {f"{settings.PREFIX}{name.upper()}" for name in settings.Settings.__dataclass_fields__}
    limits = {name: environment[name] for name in ours if name in environment}
    return {
        **kept,
        **limits,
        "PYTHONHASHSEED": "0",
        "TZ": "UTC",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
