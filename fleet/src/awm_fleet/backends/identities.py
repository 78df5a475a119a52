"""How an environment and its instances are named: the same on every start, so that episodes are found again."""

import hashlib

from awm_fleet.backends import protocol
from awm_registry import directory
from awm_runtime import names

_HASH = 12
_LONGEST = 64


def instance_id(spec: protocol.EnvironmentSpec, number: int = 0) -> directory.InstanceId:
    """The id of an environment's instance: another bundle is another instance, other settings are not."""
    said = "\0".join((spec.team, spec.scenario, str(spec.generation), spec.digest, str(number)))
    mark = hashlib.sha256(said.encode()).hexdigest()[:_HASH]
    readable = names.slug(spec.scenario)[: _LONGEST - _HASH - 1].strip("-")
    return directory.InstanceId(f"{readable}-{mark}")


def folder_name(key: protocol.Key) -> str:
    """The folder of an environment, distinct for every key and readable for people."""
    parts = (names.slug(key.team) if key.team else "", names.slug(key.scenario), f"g{key.generation}")
    return ".".join(part for part in parts if part)
