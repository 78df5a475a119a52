"""The Docker engine as a place of images, where it is missing, forbidden, or dies; the real one is in tests/docker."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from awm_generator.images import engines, errors, model


@contextmanager
def listening(path: Path, answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Something behind a socket that answers each connection."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    if connection.recv(1, socket.MSG_PEEK):  # not one that only looked whether anybody is here
                        answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"unix://{path}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def test_no_engine_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(errors.Unavailable, match=r"no Docker engine answers at unix://.*DOCKER_HOST"):
        engines.Engine(f"unix://{tmp_path}/none.sock").platform()


def test_a_socket_without_permission_says_which_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", forbidden)  # root may connect to anything
    with pytest.raises(errors.Denied, match=r"no permission for unix://.*group `docker`"):
        engines.Engine(f"unix://{tmp_path}/docker.sock").platform()


def test_an_engine_that_dies_while_it_takes_images_is_unavailable(tmp_path: Path, image: model.Image) -> None:
    def die(connection: socket.socket) -> None:
        connection.recv(4096)

    with listening(tmp_path / "docker.sock", die) as address:
        engine = engines.Engine(address)
        with pytest.raises(errors.Unavailable, match="hung up"):
            engine.load([("awm/library:1", image)])
        engine.close()
    assert not [each for each in threading.enumerate() if each.name == "archive for the engine"]


def test_an_engine_that_refuses_images_is_quoted(tmp_path: Path, image: model.Image) -> None:
    said = b'{"errorDetail":{"message":"no space left on device"}}\n'
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(said)

    def refuse(connection: socket.socket) -> None:
        while not connection.recv(1 << 16).endswith(b"0\r\n\r\n"):
            pass
        connection.sendall(reply + said)

    with listening(tmp_path / "docker.sock", refuse) as address:
        engine = engines.Engine(address)
        with pytest.raises(errors.ImageError, match="refuses the images: no space left on device"):
            engine.load([("awm/library:1", image)])
        engine.close()


def test_an_image_that_cannot_be_read_ends_the_request(tmp_path: Path, image: model.Image) -> None:
    def broken() -> Iterator[bytes]:
        raise OSError(5, "the disk is broken")

    lost = model.Blob(model.LAYER, "sha256:" + "0" * 64, 10, broken)
    manifest = model.Manifest(image.manifests[0].config, (lost,))

    def wait(connection: socket.socket) -> None:
        while connection.recv(1 << 16):
            pass

    with listening(tmp_path / "docker.sock", wait) as address:
        engine = engines.Engine(address)
        with pytest.raises(OSError, match="the disk is broken"):
            engine.load([("awm/library:1", model.Image((manifest,)))])
        engine.close()


def test_addresses_that_are_not_understood_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "DOCKER_HOST", "ssh://somewhere")
    with pytest.raises(errors.ImageError, match="ssh://somewhere: unix:// and tcp:// are understood"):
        engines.Engine()
