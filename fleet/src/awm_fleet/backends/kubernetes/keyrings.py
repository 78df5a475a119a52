"""The keys of the teams: found or made as Secrets beside the controller, their public halves shown to the teams' pods.

Only routers mount the Secrets. The public halves are in a ConfigMap of the team's namespace that its pods mount, so
that a rotation (other content of the Secret) restarts nothing.
"""

import asyncio
import base64
import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from awm_fleet.backends.kubernetes import api, model, names, settings
from awm_registry.tokens import issuing, keys
from awm_runtime import errors
from awm_runtime.contract import tokens

logger = logging.getLogger(__name__)

EPISODE_IDS = "episode-ids.key"
"""The one file of the Secret with the key of episodes' ids."""
_ID_KEY_BYTES = 32
_LOOK_EVERY_S = 10.0


class Keyring:
    """A team's private keys, as they were last read."""

    def __init__(self, held: Sequence[keys.Key], *, now: Callable[[], float] = time.time) -> None:
        self.held = held
        self._now = now

    def sign(self, claims: tokens.Claims) -> str:
        """A token that says so."""
        return keys.signed(claims, self.held, self._now())


class Keyrings:
    """The keys of all teams.

    Args:
        namespace: Where the Secrets are.
        config: Whose they are, and how they are called.
    """

    def __init__(self, connection: api.Api, namespace: str, config: settings.Config) -> None:
        self._api = connection
        self._namespace = namespace
        self._config = config
        self._rings: dict[str, Keyring] = {}
        self._issuers: dict[str, issuing.Issuer] = {}
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def run(self) -> None:
        """Makes what is missing, and shows what was rotated, until it is cancelled."""
        has_ids = False
        while True:
            try:
                has_ids = has_ids or bool(await self._found_or_made(self._config.episode_ids, _id_key))
            except errors.AwmError as exc:
                logger.error("the key of episodes' ids: %s", exc)
            for team in self._config.teams:
                try:
                    await self._refresh(team)
                except errors.AwmError as exc:
                    logger.error("the keys of team %s: %s", team.name, exc)
            await asyncio.sleep(_LOOK_EVERY_S)

    async def ensure(self, team: settings.Team) -> None:
        """Returns when the team's pods can be shown the public halves of its keys.

        Raises:
            ApiError: They cannot be read, made or shown now.
            TokenError: The Secret holds no usable key.
        """
        if team.namespace not in self._issuers:
            await self._refresh(team)

    def token(self, pod: model.Pod) -> str:
        """A token that this pod alone takes, for a short while.

        Raises:
            TransientError: The keys were not read yet.
        """
        issuer = self._issuers.get(pod.namespace)
        if issuer is None:
            raise errors.TransientError(f"the keys of {pod.namespace} were not read yet")
        return issuer.for_instance(pod.uid)

    async def _refresh(self, team: settings.Team) -> None:
        async with self._turns[team.namespace]:
            secret = self._config.keys_of(team)
            files = await self._found(secret) if team.keys else await self._found_or_made(secret, _first_key)
            held = keys.parsed(files)
            await self._show(team, held)
            ring = self._rings.setdefault(team.namespace, Keyring(held))
            ring.held = held
            self._issuers.setdefault(team.namespace, issuing.Issuer(ring, team=team.name))

    async def _found(self, name: str) -> dict[str, bytes]:
        return _files(await self._api.get(api.SECRETS, self._namespace, name))

    async def _found_or_made(self, name: str, make: Callable[[], Mapping[str, bytes]]) -> dict[str, bytes]:
        """The files of a Secret, which is made where there is none; of two who make it, the first is right."""
        try:
            return await self._found(name)
        except api.ApiError as exc:
            if not exc.is_not_found:
                raise
        metadata: dict[str, Any] = {"name": name, "namespace": self._namespace, "labels": _LABELS}
        if self._config.anchor:
            metadata["ownerReferences"] = [await self._owner(self._namespace, self._config.anchor)]
        document = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": _data(make())}
        try:
            await self._api.create(api.SECRETS, self._namespace, document)
        except api.ApiError as exc:
            if not exc.is_conflict:
                raise
        return await self._found(name)

    async def _show(self, team: settings.Team, held: Sequence[keys.Key]) -> None:
        """Writes the public halves where the team's pods mount them, unless they are there."""
        shown = {keys.PUBLIC_FILE: keys.described(held), "team": team.name}
        try:
            if (await self._api.get(api.CONFIG_MAPS, team.namespace, names.KEYS)).get("data") == shown:
                return
        except api.ApiError as exc:
            if not exc.is_not_found:
                raise
        owner = await self._owner(team.namespace, names.TEAM_ANCHOR)
        metadata = {"name": names.KEYS, "namespace": team.namespace, "labels": _LABELS, "ownerReferences": [owner]}
        document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": shown}
        await self._api.apply(api.CONFIG_MAPS, document)
        logger.info("the public keys of team %s are shown in %s", team.name, team.namespace)

    async def _owner(self, namespace: str, name: str) -> dict[str, str]:
        """Who deletes this ConfigMap has what it owns collected."""
        uid = (await self._api.get(api.CONFIG_MAPS, namespace, name))["metadata"]["uid"]
        return {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid}


_LABELS = {names.MANAGED_BY: names.MANAGER}


async def held(connection: api.Api, namespace: str, name: str) -> Keyring:
    """The keys of a Secret, with one's own rights.

    Raises:
        ApiError: It cannot be read.
        TokenError: It holds no usable key.
    """
    return Keyring(keys.parsed(_files(await connection.get(api.SECRETS, namespace, name))))


async def rotate(connection: api.Api, namespace: str, name: str, *, force: bool) -> keys.Rotation:
    """Rotates the keys of a Secret, with one's own rights; `keys.rotated` says how.

    Raises:
        ApiError: It cannot be read or written, or somebody else wrote it meanwhile.
        TokenError: The newest key has not settled, or there is no usable one.
    """
    secret = await connection.get(api.SECRETS, namespace, name)
    kept, done = keys.rotated(keys.parsed(_files(secret)), now=time.time(), force=force)
    await connection.replace(api.SECRETS, secret | {"data": _data(keys.files(kept))})
    return done


def _files(secret: Mapping[str, Any]) -> dict[str, bytes]:
    return {file: base64.b64decode(content) for file, content in secret.get("data", {}).items()}


def _data(files: Mapping[str, bytes]) -> dict[str, str]:
    return {file: base64.b64encode(content).decode() for file, content in files.items()}


def _first_key() -> dict[str, bytes]:
    kept, _ = keys.rotated([], now=time.time())
    return keys.files(kept)


def _id_key() -> dict[str, bytes]:
    return {EPISODE_IDS: secrets.token_hex(_ID_KEY_BYTES).encode() + b"\n"}
