"""The Docker engine as a place of images, over its API, of which a few requests are needed.

The engine is the one of DOCKER_HOST, or the socket that `docker` uses by default.
"""

import contextlib
import json
import os
import queue
import socket
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import httpx

from awm_generator.images import archives, errors, model

_DEFAULT = "unix:///var/run/docker.sock"
_TIMEOUT = httpx.Timeout(60.0, connect=5.0, read=600.0)
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Engine:
    """A Docker engine.

    Args:
        address: `unix://PATH` or `tcp://HOST:PORT`; by default DOCKER_HOST, or else the usual socket.
    """

    def __init__(self, address: str | None = None) -> None:
        self.address = address or os.environ.get("DOCKER_HOST") or _DEFAULT
        scheme, _, rest = self.address.partition("://")
        if scheme not in ("unix", "tcp"):
            raise errors.ImageError(f"DOCKER_HOST is {self.address}: unix:// and tcp:// are understood")
        self._socket = rest if scheme == "unix" else None
        transport = httpx.HTTPTransport(uds=rest) if scheme == "unix" else httpx.HTTPTransport()
        base = "http://docker" if scheme == "unix" else f"http://{rest}"
        self._client = httpx.Client(transport=transport, base_url=base, timeout=_TIMEOUT)

    def close(self) -> None:
        """Hangs up."""
        self._client.close()

    def platform(self) -> str:
        """What it runs: `linux/amd64`."""
        version = self._json("GET", "/version")
        architecture = str(version.get("Arch", ""))
        return f"{version.get('Os', 'linux')}/{_ARCHITECTURES.get(architecture, architecture)}"

    def read(self, name: str) -> model.Image:
        """The image that it knows as `name`.

        Raises:
            ImageError: It knows none.
        """
        identity = self._json("GET", f"/images/{name}/json", name)["Id"]
        with tempfile.TemporaryDirectory(prefix="awm-image-") as folder:
            path = Path(folder) / "image.tar"
            with self._request("GET", f"/images/{identity}/get", name) as reply, path.open("wb") as file:
                for chunk in reply.iter_bytes():
                    file.write(chunk)
            return _in_memory(archives.read(path))

    def load(self, images: Sequence[tuple[str, model.Image]]) -> None:
        """Gives it images for its platform, under names.

        Raises:
            ImageError: It refuses one.
        """
        with self._request("POST", "/images/load?quiet=1", content=_streamed(images)) as reply:
            reply.read()
            for line in filter(None, reply.text.splitlines()):
                if said := _error(line):
                    raise errors.ImageError(f"the Docker engine refuses the images: {said}")

    def known(self, label: str) -> dict[str, tuple[str, dict[str, str]]]:
        """The ids and labels of its images that have `label`, by name."""
        filters = json.dumps({"label": [label]})
        listed = cast(list[dict[str, Any]], self._json("GET", f"/images/json?filters={filters}"))
        return {
            tag: (str(each["Id"]), dict(each.get("Labels") or {}))
            for each in listed
            for tag in each.get("RepoTags") or ()
        }

    def remove(self, name: str) -> None:
        """Forgets an image.

        Raises:
            ImageError: A container uses it.
        """
        self._json("DELETE", f"/images/{name}", name)

    def _json(self, method: str, path: str, name: str = "") -> Any:
        with self._request(method, path, name) as reply:
            return json.loads(reply.read() or b"null")

    @contextlib.contextmanager
    def _request(
        self, method: str, path: str, name: str = "", *, content: Iterable[bytes] | None = None
    ) -> Iterator[httpx.Response]:
        if self._socket is not None:
            _reach(self._socket)
        try:
            with self._client.stream(method, path, content=content) as reply:
                if reply.status_code >= httpx.codes.BAD_REQUEST:
                    raise _refusal(reply, name)
                yield reply
        except httpx.ConnectError as exc:
            raise _nobody(self.address) from exc
        except httpx.TransportError as exc:
            raise errors.Unavailable(f"the Docker engine at {self.address} hung up: {exc}") from exc


def _streamed(images: Sequence[tuple[str, model.Image]]) -> Iterator[bytes]:
    """An archive as it is being written by a second thread, a few chunks ahead."""
    pipe: queue.Queue[bytes | BaseException | None] = queue.Queue(maxsize=8)
    closed = threading.Event()

    def write() -> None:
        try:
            for _ in archives.stream(cast(Any, _Pipe(pipe, closed)), images):
                pass
            pipe.put(None)
        except BaseException as exc:  # noqa: BLE001 - it is raised where the chunks are read
            if not closed.is_set():
                pipe.put(exc)

    writer = threading.Thread(target=write, name="archive for the engine", daemon=True)
    writer.start()
    try:
        while (chunk := pipe.get()) is not None:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk
    finally:
        closed.set()
        with contextlib.suppress(queue.Empty):
            while True:
                pipe.get_nowait()
        writer.join(timeout=10)


class _Pipe:
    """What an archive is written to."""

    def __init__(self, pipe: "queue.Queue[bytes | BaseException | None]", closed: threading.Event) -> None:
        self._pipe = pipe
        self._closed = closed

    def write(self, chunk: bytes) -> int:
        while not self._closed.is_set():
            with contextlib.suppress(queue.Full):
                self._pipe.put(bytes(chunk), timeout=0.5)
                return len(chunk)
        raise BrokenPipeError("nobody reads the archive any more")


def _in_memory(image: model.Image) -> model.Image:
    """The same with its blobs read: the file that they are in goes away."""
    return model.Image(
        tuple(
            model.Manifest(
                each.config, tuple(model.Blob.of(layer.content(), layer.media_type) for layer in each.layers)
            )
            for each in image.manifests
        )
    )


def _error(line: str) -> str:
    said: Mapping[str, Any] = json.loads(line)
    return str((said.get("errorDetail") or {}).get("message") or said.get("error") or "")


def _refusal(reply: httpx.Response, name: str) -> Exception:
    reply.read()
    try:
        said = str(reply.json().get("message", ""))
    except ValueError:
        said = reply.text
    if reply.status_code == httpx.codes.NOT_FOUND:
        return errors.ImageError(f"the Docker engine has no image {name}; pull or build it first")
    if reply.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        return errors.Unavailable(f"the Docker engine failed: {said}")
    return errors.ImageError(f"the Docker engine refuses: {said}")


def _reach(path: str) -> None:
    """Connects to an engine's socket and hangs up, to say why where that does not work."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except PermissionError as exc:
            raise errors.Denied(f"no permission for unix://{path}: join the group `docker`, or be root") from exc
        except OSError as exc:
            raise _nobody(f"unix://{path}") from exc


def _nobody(address: str) -> errors.Unavailable:
    return errors.Unavailable(f"no Docker engine answers at {address}; start it, or name another one with DOCKER_HOST")
