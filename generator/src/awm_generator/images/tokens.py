"""How a registry is shown who asks: the challenge that it answers with, and the token that is fetched for it."""

import base64
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from awm_generator.images import credentials, errors, references

_FIELD = re.compile(r'(\w+)="([^"]*)"')
_CLIENT = "awm"


@dataclass(frozen=True)
class Challenge:
    """What a registry wants: `basic`, or `bearer` with a token of `realm`."""

    scheme: str
    realm: str = ""
    service: str = ""

    @classmethod
    def of(cls, reply: httpx.Response) -> "Challenge":
        """The challenge of a 401."""
        scheme, _, rest = reply.headers.get("WWW-Authenticate", "").partition(" ")
        fields = dict(_FIELD.findall(rest))
        return cls(scheme.lower(), fields.get("realm", ""), fields.get("service", ""))


class Authorizer:
    """Makes the Authorization header for a registry; tokens are kept by scope until they are refused.

    Args:
        host: The registry.
        client: What tokens are fetched with.
    """

    def __init__(self, host: str, client: httpx.Client) -> None:
        self._host = host
        self._client = client
        self._known = threading.Lock()
        self._credentials: credentials.Credentials | None = None
        self._looked = False
        self._challenge: Challenge | None = None
        self._headers: dict[tuple[str, ...], str] = {}

    def header(self, scopes: Iterable[str]) -> str | None:
        """The header to send; None before the registry has asked for one."""
        with self._known:
            if self._challenge is None:
                return None
            key = tuple(scopes) if self._challenge.scheme == "bearer" else ()
            if key not in self._headers:
                self._headers[key] = self._made(self._challenge, key)
            return self._headers[key]

    def challenged(self, reply: httpx.Response, sent: str | None) -> None:
        """Takes note of a 401.

        Raises:
            Denied: What was sent is not accepted.
        """
        challenge = Challenge.of(reply)
        with self._known:
            fresh = challenge != self._challenge
            self._challenge = challenge
            stale = [key for key, header in self._headers.items() if header == sent]
            for key in stale:
                del self._headers[key]
            if sent is not None and not fresh and (challenge.scheme == "basic" or not stale):
                raise self._refused()

    def _made(self, challenge: Challenge, scopes: tuple[str, ...]) -> str:
        if not self._looked:
            self._credentials, self._looked = credentials.find(self._host), True
        if challenge.scheme == "bearer":
            return f"Bearer {self._token(challenge, scopes)}"
        if challenge.scheme != "basic":
            raise errors.Denied(f"{self._host} asks for credentials of an unknown kind: {challenge.scheme or 'none'}")
        if self._credentials is None:
            raise self._refused()
        return _basic(self._credentials)

    def _token(self, challenge: Challenge, scopes: tuple[str, ...]) -> str:
        realm = urlsplit(challenge.realm)
        if realm.scheme != "https" and not references.is_loopback(realm.netloc):
            raise errors.Denied(f"{self._host} wants credentials sent to {challenge.realm}, which is not encrypted")
        common = {"service": challenge.service, "scope": list(scopes)}
        if self._credentials is not None and self._credentials.is_token:
            form = {"grant_type": "refresh_token", "client_id": _CLIENT, "service": challenge.service,
                    "scope": " ".join(scopes), "refresh_token": self._credentials.secret}  # fmt: skip
            reply = self._client.post(challenge.realm, data=form)
        else:
            headers = {"Authorization": _basic(self._credentials)} if self._credentials else {}
            reply = self._client.get(challenge.realm, params=common, headers=headers)
        if reply.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN, httpx.codes.BAD_REQUEST):
            raise self._refused()
        if not reply.is_success:
            raise errors.Unavailable(
                f"{realm.netloc}, where {self._host} sends for a token, answers {reply.status_code}"
            )
        try:
            said = reply.json()
            return str(said.get("token") or said["access_token"])
        except (ValueError, KeyError, AttributeError) as exc:
            raise errors.Denied(f"{realm.netloc}, where {self._host} sends for a token, gives none") from exc

    def _refused(self) -> errors.Denied:
        if self._credentials is None:
            return errors.Denied(f"{self._host} asks for credentials; log in: docker login {self._host}")
        return errors.Denied(
            f"{self._host} does not accept the credentials of {self._credentials.user or 'the identity token'} in "
            f"{credentials.config_file()}; log in again: docker login {self._host}"
        )


def _basic(found: credentials.Credentials) -> str:
    return f"Basic {base64.b64encode(f'{found.user}:{found.secret}'.encode()).decode()}"
