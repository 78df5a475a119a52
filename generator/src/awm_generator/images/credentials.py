"""The user's credentials for image registries, from where `docker login` puts them: config.json or a helper."""

import base64
import binascii
import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from awm_generator.images import errors

_HELPER_PATIENCE_S = 30.0
_TOKEN_USER = "<token>"  # noqa: S105 - what helpers give as the name beside an identity token
_NOT_FOUND = "credentials not found"


@dataclass(frozen=True)
class Credentials:
    """What a registry is shown.

    Attributes:
        user: The name; empty with an identity token.
        secret: The password or identity token; in no log and no message.
    """

    user: str
    secret: str = field(repr=False)

    @property
    def is_token(self) -> bool:
        """Whether the secret is an identity token, which is exchanged and never shown as a password."""
        return not self.user


def config_file() -> Path:
    """Where Docker's settings are."""
    return Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"


def find(host: str) -> Credentials | None:
    """The credentials for a registry; None where the user has none.

    Raises:
        Denied: The settings or the helper that they name are broken.
    """
    path = config_file()
    try:
        settings = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise errors.Denied(f"{path} cannot be read: {exc}") from exc
    if not isinstance(settings, dict):
        raise errors.Denied(f"{path} cannot be read: it is no JSON object")
    helper = (settings.get("credHelpers") or {}).get(host) or settings.get("credsStore")
    if helper and (found := _from_helper(helper, host)):
        return found
    for name, entry in (settings.get("auths") or {}).items():
        if _host(name) == host and isinstance(entry, dict):
            return _from_entry(entry, path)
    return None


def _host(name: str) -> str:
    """The host of an entry, which may be a URL."""
    return name.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _from_entry(entry: dict[str, Any], path: Path) -> Credentials | None:
    if token := entry.get("identitytoken"):
        return Credentials("", token)
    if entry.get("username"):
        return Credentials(entry["username"], entry.get("password", ""))
    if not entry.get("auth"):
        return None
    try:
        user, _, secret = base64.b64decode(entry["auth"]).decode().partition(":")
    except (binascii.Error, TypeError, UnicodeDecodeError) as exc:
        raise errors.Denied(f"{path} holds credentials that cannot be read; log in again") from exc
    return Credentials(user, secret.rstrip("\0"))


def _from_helper(helper: str, host: str) -> Credentials | None:
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, "get"], input=host, capture_output=True, text=True, timeout=_HELPER_PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise errors.Denied(f"{config_file()} names the helper {program}, which does not run: {exc}") from exc
    if done.returncode != 0:
        if _NOT_FOUND in done.stdout + done.stderr:
            return None
        raise errors.Denied(f"{program} has no credentials for {host}: {(done.stdout or done.stderr).strip()}")
    try:
        said = json.loads(done.stdout)
        user, secret = said["Username"], said["Secret"]
    except (ValueError, KeyError) as exc:
        raise errors.Denied(f"{program} gave an answer that is not understood") from exc
    return Credentials("" if user == _TOKEN_USER else user, secret)
