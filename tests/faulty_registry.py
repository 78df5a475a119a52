"""An image registry in this process that can be told to fail: what no real one does when it is asked to."""

import base64
import contextlib
import hashlib
import json
import re
import socket
import ssl
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

_PATH = re.compile(r"/v2/(?P<repository>.+?)/(?P<kind>manifests|blobs/uploads|blobs)/(?P<rest>.*)")


@dataclass
class Fault:
    """What is to go wrong, for the next requests that it fits.

    Attributes:
        method: Of the requests.
        within: A part of their path.
        status: What is answered; None: the connection is cut.
        times: How often.
        retry_after: A header to send along, in seconds.
        after_bytes: How much of the body is read before the cut.
    """

    method: str
    within: str
    status: int | None = None
    times: int = 1
    retry_after: int | None = None
    after_bytes: int = 0


@dataclass
class State:
    """What the registry holds, and what it was asked."""

    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    received: int = 0
    user: str | None = None
    password: str = ""
    bearer: bool = False
    fixed_repositories: frozenset[str] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def asked(self, method: str, within: str = "") -> int:
        """How many requests of a kind came."""
        return sum(1 for each in self.requests if each.startswith(f"{method} ") and within in each)


def certificate(folder: Path) -> Path:
    """A certificate of nobody's for 127.0.0.1 as `cert.pem` in a folder; returns the file that has its key too."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
               "-days", "2", "-subj", "/CN=tests", "-addext", "subjectAltName=IP:127.0.0.1"]  # fmt: skip
    subprocess.run(
        [*command, "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True
    )
    both = folder / "both.pem"
    both.write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
    return both


@contextlib.contextmanager
def running(state: State, *, certificate: Path | None = None) -> Iterator[str]:
    """Serves for the length of a `with` block; gives HOST:PORT.

    Args:
        state: What it holds.
        certificate: A PEM file with a certificate and its key, for TLS.
    """
    handler: Callable[..., BaseHTTPRequestHandler] = type("Handler", (_Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)  # type: ignore[arg-type]
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign] - clients that hang up are what is tested
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: State

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._handle()

    do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815 - http.server's names

    def _handle(self) -> None:
        url = urlsplit(self.path)
        with self.state.lock:
            self.state.requests.append(f"{self.command} {self.path}")
            fault = next(
                (
                    each
                    for each in self.state.faults
                    if each.times and each.method == self.command and each.within in self.path
                ),
                None,
            )
            if fault is not None:
                fault.times -= 1
        if fault is not None and fault.status is None:
            self._cut(fault, url.path)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.state.received += len(body)
        if fault is not None:
            assert fault.status is not None
            self._answer(
                fault.status, headers={"Retry-After": str(fault.retry_after)} if fault.retry_after is not None else {}
            )
        elif url.path == "/token":
            self._token()
        elif not self._permitted():
            scheme = (
                f'Bearer realm="http://{self.headers["Host"]}/token",service="tests"'
                if self.state.bearer
                else 'Basic realm="tests"'
            )
            self._answer(401, headers={"WWW-Authenticate": scheme})
        elif url.path == "/v2/":
            self._answer(200)
        elif url.path == "/v2/_catalog":
            self._json({"repositories": sorted({repository for repository, _ in self.state.manifests})})
        elif url.path.endswith("/tags/list"):
            wanted = url.path.removeprefix("/v2/").removesuffix("/tags/list")
            tags = [
                ref
                for repository, ref in self.state.manifests
                if repository == wanted and not ref.startswith("sha256:")
            ]
            self._json({"tags": sorted(tags)})
        elif found := _PATH.fullmatch(url.path):
            self._route(found, parse_qs(url.query), body)
        else:
            self._answer(404)

    def _cut(self, fault: Fault, path: str) -> None:
        """Takes a part of the body, as far as an upload goes, and hangs up."""
        part = self.rfile.read(min(fault.after_bytes, int(self.headers.get("Content-Length") or 0)))
        upload = self.state.uploads.get(path.rpartition("/")[2])
        if upload is not None and self.command == "PATCH":
            upload += part
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _permitted(self) -> bool:
        if self.state.user is None:
            return True
        if self.state.bearer:
            return self.headers.get("Authorization") == "Bearer of-the-tests"
        return self.headers.get("Authorization") == f"Basic {self._basic()}"

    def _basic(self) -> str:
        return base64.b64encode(f"{self.state.user}:{self.state.password}".encode()).decode()

    def _token(self) -> None:
        if self.headers.get("Authorization") == f"Basic {self._basic()}":
            self._json({"token": "of-the-tests"})
        else:
            self._answer(401)

    def _route(self, found: re.Match[str], query: dict[str, list[str]], body: bytes) -> None:
        repository, kind, rest = found["repository"], found["kind"], found["rest"]
        if self.state.fixed_repositories is not None and repository not in self.state.fixed_repositories:
            self._json({"errors": [{"code": "NAME_UNKNOWN", "message": "repository name not known"}]}, 404)
        elif kind == "manifests":
            self._manifest(repository, rest, body)
        elif kind == "blobs":
            content = self.state.blobs.get((repository, rest))
            self._answer(404) if content is None else self._answer(200, content)
        else:
            self._upload(repository, rest, query, body)

    def _manifest(self, repository: str, reference: str, body: bytes) -> None:
        manifests = self.state.manifests
        if self.command == "PUT":
            entry = (self.headers["Content-Type"], body)
            manifests[repository, reference] = manifests[repository, _digest(body)] = entry
            self._answer(201, headers={"Docker-Content-Digest": _digest(body)})
        elif (repository, reference) not in manifests:
            self._answer(404)
        elif self.command == "DELETE":
            gone = manifests[repository, reference]
            for key in [key for key, entry in manifests.items() if key[0] == repository and entry == gone]:
                del manifests[key]
            self._answer(202)
        else:
            kind, content = manifests[repository, reference]
            self._answer(200, content, {"Content-Type": kind, "Docker-Content-Digest": _digest(content)})

    def _upload(self, repository: str, number: str, query: dict[str, list[str]], body: bytes) -> None:
        state = self.state
        if self.command == "POST":
            source = (query.get("from", [""])[0], query.get("mount", [""])[0])
            if source in state.blobs:
                state.blobs[repository, source[1]] = state.blobs[source]
                self._answer(201)
                return
            number = uuid.uuid4().hex
            state.uploads[number] = bytearray()
            self._progress(202, repository, number)
        elif number not in state.uploads:
            self._answer(404)
        elif self.command == "GET":
            self._progress(204, repository, number)
        elif self.command == "PATCH":
            state.uploads[number] += body
            self._progress(202, repository, number)
        else:
            content = bytes(state.uploads.pop(number)) + body
            if _digest(content) != query["digest"][0]:
                self._answer(400)
                return
            state.blobs[repository, query["digest"][0]] = content
            self._answer(201)

    def _progress(self, status: int, repository: str, number: str) -> None:
        last = max(len(self.state.uploads[number]) - 1, 0)
        self._answer(status, headers={"Location": f"/v2/{repository}/blobs/uploads/{number}", "Range": f"0-{last}"})

    def _json(self, value: object, status: int = 200) -> None:
        self._answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, content: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
