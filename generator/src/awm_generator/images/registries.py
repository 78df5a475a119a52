"""An image registry, over the OCI distribution protocol 1.1: manifests, blobs, uploads that are mounted or resumed."""

import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx

from awm_generator.images import errors, model, references, tokens

_ACCEPT = ", ".join((*sorted(model.MANIFESTS), *sorted(model.INDEXES)))
_ATTEMPTS = 6
_LONGEST_PAUSE_S = 30.0
_AGAIN = frozenset({429, 500, 502, 503, 504})
_PIECE = 8 << 20
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_PAGE = 1000


class Registry:
    """A client of one registry; safe to use from several threads.

    Args:
        host: HOST[:PORT].
        plain_http: Whether to speak without TLS; on this machine's own addresses that is tried by itself.
        ca: A file with further certificates to trust.
        pause: Waits for a number of seconds.
    """

    def __init__(
        self,
        host: str,
        *,
        plain_http: bool = False,
        ca: Path | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.host = host
        self._pause = pause
        loopback = references.is_loopback(host)
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
        self._client = httpx.Client(
            verify=_trusted(ca), timeout=_TIMEOUT, follow_redirects=True, limits=limits, trust_env=not loopback
        )
        plain = plain_http or (loopback and not self._speaks_tls())
        self._base = f"{'http' if plain else 'https'}://{host}"
        self._authorizer = tokens.Authorizer(host, self._client)

    def close(self) -> None:
        """Hangs up."""
        self._client.close()

    def read(self, repository: str, reference: str) -> model.Image:
        """An image by tag or digest; its layers are fetched when they are read.

        Raises:
            ImageError: It is not there, or broken.
        """
        reply = self._request("GET", repository, f"manifests/{reference}", headers={"Accept": _ACCEPT})
        if reply.status_code == httpx.codes.NOT_FOUND:
            raise errors.ImageError(f"{self.host}/{repository} has no image {reference}")
        self._expect(reply, httpx.codes.OK)
        root = model.Blob.of(reply.content, _media_type(reply))
        if reference.startswith("sha256:") and root.digest != reference:
            raise errors.ImageError(f"{self.host}/{repository} gave another image than {reference}")
        return model.resolve(root, lambda kind, digest, size: self._blob(repository, kind, digest, size))

    def digest(self, repository: str, tag: str) -> str | None:
        """What a tag means at the moment; None where there is no such tag."""
        reply = self._request("HEAD", repository, f"manifests/{tag}", headers={"Accept": _ACCEPT})
        if reply.status_code == httpx.codes.NOT_FOUND:
            return None
        self._expect(reply, httpx.codes.OK)
        found = reply.headers.get("Docker-Content-Digest")
        return str(found) if found else self.read(repository, tag).digest

    def put_manifest(self, repository: str, reference: str, manifest: model.Blob) -> None:
        """Stores a manifest or an index under a tag or its digest."""
        headers = {"Content-Type": manifest.media_type}
        reply = self._request("PUT", repository, f"manifests/{reference}", headers=headers, content=manifest.content())
        self._expect(reply, httpx.codes.CREATED)

    def has(self, repository: str, digest: str) -> bool:
        """Whether a repository holds a blob."""
        reply = self._request("HEAD", repository, f"blobs/{digest}")
        if reply.status_code == httpx.codes.NOT_FOUND:
            return False
        self._expect(reply, httpx.codes.OK)
        return True

    def upload(self, repository: str, blob: model.Blob, *, mount_from: str | None = None) -> None:
        """Stores a blob; one that another repository of the registry holds is mounted from there.

        A cut upload goes on where it was cut.
        """
        query = {"mount": blob.digest, "from": mount_from} if mount_from else {}
        reply = self._request("POST", repository, "blobs/uploads/", params=query, also=mount_from)
        if reply.status_code == httpx.codes.CREATED and mount_from:
            return
        self._expect(reply, httpx.codes.ACCEPTED)
        location = self._location(reply)
        if blob.size <= _PIECE:
            self._finish(repository, location, blob, blob.content())
            return
        for start, piece in _pieces(blob):
            location = self._patch(repository, location, start, piece)
        self._finish(repository, location, blob, b"")

    def delete(self, repository: str, digest: str) -> None:
        """Deletes a manifest, and with it its tags; the registry's own collector frees the blobs.

        Raises:
            Denied: The registry does not let manifests be deleted.
        """
        reply = self._request("DELETE", repository, f"manifests/{digest}")
        if reply.status_code == httpx.codes.METHOD_NOT_ALLOWED:
            raise errors.Denied(f"{self.host} does not let images be deleted; its own settings decide that")
        if reply.status_code != httpx.codes.NOT_FOUND:
            self._expect(reply, httpx.codes.ACCEPTED)

    def repositories(self, prefix: str) -> list[str]:
        """The repositories below a prefix, and the one of that name."""
        names = self._listed("_catalog", "repositories", scope="registry:catalog:*")
        return [name for name in names if name == prefix or name.startswith(f"{prefix}/")]

    def tags(self, repository: str) -> list[str]:
        """A repository's tags."""
        return self._listed(f"{repository}/tags/list", "tags", scope=f"repository:{repository}:pull")

    def _listed(self, path: str, field: str, *, scope: str) -> list[str]:
        found: list[str] = []
        url: str | None = f"{self._base}/v2/{path}?n={_PAGE}"
        while url is not None:
            reply = self._send("GET", url, (scope,))
            if reply.status_code == httpx.codes.NOT_FOUND:
                return found
            self._expect(reply, httpx.codes.OK)
            found += reply.json().get(field) or []
            following = reply.links.get("next", {}).get("url")
            url = urljoin(url, following) if following else None
        return found

    def _blob(self, repository: str, media_type: str, digest: str, size: int) -> model.Blob:
        kind = "manifests" if media_type in model.MANIFESTS else "blobs"

        def read() -> Iterator[bytes]:
            reply = self._request("GET", repository, f"{kind}/{digest}", headers={"Accept": media_type})
            if reply.status_code == httpx.codes.NOT_FOUND:
                raise errors.ImageError(f"{self.host}/{repository} lacks the blob {digest}")
            self._expect(reply, httpx.codes.OK)
            yield reply.content

        return model.Blob(media_type, digest, size, read, origin=f"{self.host}/{repository}")

    def _patch(self, repository: str, location: str, start: int, piece: bytes) -> str:
        """Sends a piece of an upload, after a cut what did not arrive of it; returns where the next one goes."""
        scopes = _scopes(repository, None)
        sent = 0
        for attempt in range(_ATTEMPTS):
            first, last = start + sent, start + len(piece) - 1
            headers = {"Content-Type": "application/octet-stream", "Content-Range": f"{first}-{last}"}
            try:
                reply = self._once("PATCH", location, scopes, headers=headers, content=piece[sent:])
            except httpx.TransportError as exc:
                reply = self._recovered(location, scopes, attempt, exc)
            if reply.status_code in (httpx.codes.ACCEPTED, httpx.codes.NO_CONTENT):
                location = self._location(reply, location)
                sent = _received(reply) - start
                if sent >= len(piece):
                    return location
            elif reply.status_code in (*_AGAIN, httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE):
                self._pause(_pause_s(reply, attempt))
            else:
                self._expect(reply, httpx.codes.ACCEPTED)
        raise errors.Unavailable(f"{self.host} took no piece of an upload in {_ATTEMPTS} attempts")

    def _recovered(self, location: str, scopes: tuple[str, ...], attempt: int, exc: Exception) -> httpx.Response:
        """Asks after a cut how much of an upload arrived."""
        self._pause(_pause_s(None, attempt))
        reply = self._send("GET", location, scopes)
        if reply.status_code not in (httpx.codes.NO_CONTENT, httpx.codes.ACCEPTED):
            raise errors.Unavailable(f"{self.host} cut an upload and cannot go on with it: {exc}") from exc
        return reply

    def _finish(self, repository: str, location: str, blob: model.Blob, rest: bytes) -> None:
        url = httpx.URL(location).copy_merge_params({"digest": blob.digest})
        headers = {"Content-Type": "application/octet-stream"}
        reply = self._send("PUT", str(url), _scopes(repository, None), headers=headers, content=rest)
        if reply.status_code == httpx.codes.NOT_FOUND and self.has(repository, blob.digest):
            return  # an earlier attempt arrived, and its answer was lost
        self._expect(reply, httpx.codes.CREATED)

    def _location(self, reply: httpx.Response, otherwise: str = "") -> str:
        location = reply.headers.get("Location") or otherwise
        if not location:
            raise errors.Unavailable(f"{self.host} does not say where to send a blob")
        return str(urljoin(str(reply.url), location))

    def _request(
        self, method: str, repository: str, path: str, *, also: str | None = None, **options: Any
    ) -> httpx.Response:
        return self._send(method, f"{self._base}/v2/{repository}/{path}", _scopes(repository, also), **options)

    def _send(self, method: str, url: str, scopes: tuple[str, ...], **options: Any) -> httpx.Response:
        """Sends a request that may be repeated, until it is answered.

        Raises:
            Unavailable: It never was, or only with errors of the registry.
        """
        for attempt in range(_ATTEMPTS):
            try:
                reply = self._once(method, url, scopes, **options)
            except httpx.TransportError as exc:
                if _is_untrusted(exc):
                    raise self._untrusted(exc) from exc
                if attempt == _ATTEMPTS - 1:
                    raise errors.Unavailable(f"{self.host} does not answer: {exc or type(exc).__name__}") from exc
                self._pause(_pause_s(None, attempt))
                continue
            if reply.status_code not in _AGAIN or attempt == _ATTEMPTS - 1:
                return reply
            self._pause(_pause_s(reply, attempt))
        raise AssertionError("unreachable")

    def _once(self, method: str, url: str, scopes: tuple[str, ...], **options: Any) -> httpx.Response:
        headers: Mapping[str, str] = options.pop("headers", {})
        for _ in range(2):
            authorization = self._authorizer.header(scopes)
            shown = {**headers, "Authorization": authorization} if authorization else headers
            reply = self._client.request(method, url, headers=shown, **options)
            if reply.status_code != httpx.codes.UNAUTHORIZED:
                break
            self._authorizer.challenged(reply, authorization)
        return reply

    def _expect(self, reply: httpx.Response, *statuses: int) -> None:
        """Turns any other status into an error."""
        if reply.status_code in statuses:
            return
        said = _said(reply)
        where = f"{self.host}{reply.url.path.removeprefix('/v2')}"
        if reply.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise errors.Denied(f"{where}: not permitted: {said}")
        if reply.status_code in _AGAIN:
            raise errors.Unavailable(f"{where}: {said}", retry_after_s=_pause_s(reply, _ATTEMPTS))
        if reply.status_code == httpx.codes.NOT_FOUND:
            raise errors.ImageError(
                f"{where}: {said}; where repositories must be made beforehand, use one with --single-repository"
            )
        raise errors.ImageError(f"{where}: {said}")

    def _untrusted(self, exc: Exception) -> errors.Denied:
        return errors.Denied(f"{self.host}: its certificate is not trusted ({exc}); name its CA with --ca")

    def _speaks_tls(self) -> bool:
        try:
            self._client.get(f"https://{self.host}/v2/", timeout=5.0)
        except httpx.ConnectError as exc:
            return _is_untrusted(exc)
        except httpx.TransportError:
            return False
        return True


def _trusted(ca: Path | None) -> ssl.SSLContext | bool:
    if ca is None:
        return True
    try:
        context = httpx.create_ssl_context()
        context.load_verify_locations(cafile=ca)
    except (OSError, ssl.SSLError) as exc:
        raise errors.Denied(f"{ca} holds no certificates that can be read: {exc}") from exc
    return context


def _scopes(repository: str, also: str | None) -> tuple[str, ...]:
    ours = f"repository:{repository}:pull,push"
    return (ours, f"repository:{also}:pull") if also and also != repository else (ours,)


def _media_type(reply: httpx.Response) -> str:
    return str(reply.headers.get("Content-Type", "")).partition(";")[0].strip()


def _pieces(blob: model.Blob) -> Iterator[tuple[int, bytes]]:
    """A blob in pieces, with where each begins."""
    start, held = 0, bytearray()
    for chunk in blob.chunks():
        held += chunk
        while len(held) >= _PIECE:
            yield start, bytes(held[:_PIECE])
            start += _PIECE
            del held[:_PIECE]
    if held:
        yield start, bytes(held)


def _received(reply: httpx.Response) -> int:
    """How many bytes of an upload a registry has."""
    last = str(reply.headers.get("Range", "")).rpartition("-")[2]
    return int(last) + 1 if last.isdigit() and last != "0" else 0


def _pause_s(reply: httpx.Response | None, attempt: int) -> float:
    asked = reply.headers.get("Retry-After", "") if reply is not None else ""
    return min(float(asked) if asked.isdigit() else 0.25 * 2**attempt, _LONGEST_PAUSE_S)


def _is_untrusted(exc: BaseException) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in str(exc)


def _said(reply: httpx.Response) -> str:
    """What a registry says is wrong."""
    try:
        errors_said = reply.json()["errors"]
        return "; ".join(f"{each.get('code', '')}: {each.get('message', '')}" for each in errors_said)
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"status {reply.status_code}"
