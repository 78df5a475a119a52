"""What a container asks of the server: the right bundle, its seed, a token's hash, health, orphans."""

import hashlib
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import bundles
import pytest

from awm_runtime import errors
from awm_runtime.bundle import digest
from awm_runtime.server import health, keeper

CODE = "from fastapi import FastAPI\n\napp = FastAPI()\n"
ORPHANS = """
import ctypes, os, subprocess, sys, time
from awm_runtime.server import orphans

PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1) == 0
own = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
for _ in range(3):
    subprocess.run([sys.executable, "-c", "import os; os.fork() or os._exit(0)"], check=True)
deadline, reaped = time.monotonic() + 20, 0
while reaped < 3 and time.monotonic() < deadline:
    reaped += orphans.reap((own.pid,))
own.kill()
while orphans.reap((own.pid,)) or not os.waitid(os.P_PID, own.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
    assert time.monotonic() < deadline
print(reaped, own.wait())
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return bundles.make(tmp_path / "plain", CODE, tools=())


def options(bundle: Path, **given: object) -> keeper.Options:
    return keeper.Options(bundle=bundle, state=bundle.parent / "state", port=0, control_port=0, **given)  # type: ignore[arg-type]


def test_another_bundle_than_the_image_says_is_refused(bundle: Path) -> None:
    with pytest.raises(errors.BundleError, match=f"has the digest {digest.digest(bundle)}, and sha256:0 is wanted"):
        keeper.Keeper(options(bundle, digest="sha256:0"))
    keeper.Keeper(options(bundle, digest=digest.digest(bundle))).close()


def test_a_seed_that_belongs_to_the_bundle_is_taken_and_another_is_not(bundle: Path, tmp_path: Path) -> None:
    seeds = tmp_path / "seeds"
    seeds.mkdir()
    (seeds / f"{'0' * 64}.db").write_bytes(b"another bundle's")
    keeper.Keeper(options(bundle, seeds=seeds)).close()
    [state] = (tmp_path / "state").iterdir()
    assert not (state / "seed.db").exists()
    (seeds / keeper.seed_name(digest.digest(bundle))).write_bytes(b"this bundle's")
    keeper.Keeper(options(bundle, seeds=seeds)).close()
    assert (state / "seed.db").read_bytes() == b"this bundle's"
    (state / "seed.db").write_bytes(b"what episodes started from")
    keeper.Keeper(options(bundle, seeds=seeds)).close()
    assert (state / "seed.db").read_bytes() == b"what episodes started from"


def test_beyond_loopback_a_tokens_hash_will_do(bundle: Path) -> None:
    with pytest.raises(errors.PermanentError, match="give the control plane a token"):
        keeper.Keeper(options(bundle, host="0.0.0.0"))
    keeper.Keeper(options(bundle, host="0.0.0.0", token_hash=hashlib.sha256(b"x").hexdigest())).close()


@pytest.mark.parametrize(("status", "expected"), [(200, 0), (503, 1), (404, 1)])
def test_health_is_what_readyz_says(status: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/readyz"
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        monkeypatch.setattr(health, "PORT", server.server_address[1])
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert health.main() == expected
        thread.join()


def test_nobody_who_answers_is_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PORT", 1)
    assert health.main() == 1


def test_orphans_are_reaped_and_own_children_are_left_to_their_owners() -> None:
    done = subprocess.run([sys.executable, "-c", ORPHANS], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["3", "-9"], done.stderr
