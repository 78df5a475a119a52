"""Who an instance lets in: every plane, every kind of token."""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from awm_registry.tokens import issuing, keys
from awm_runtime import errors
from awm_runtime.contract import problems, tokens
from awm_runtime.server import admission, configuration

EPISODE = "ep_mine"
SHARED = "the shared token, gr\u00f6\u00dfer"
Make = Callable[[issuing.Issuer], str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    keys.rotate(folder, now=1e9)
    return folder


def admitted(folder: Path | None, *, shared: bool = False) -> admission.Admission:
    config = configuration.InstanceConfig(
        bundle="",
        state="",
        agent_url="",
        token_hash=hashlib.sha256(SHARED.encode()).hexdigest() if shared else None,
        keys=str(folder / keys.PUBLIC) if folder is not None else None,
        id="rover-1",
        team="red",
    )
    return admission.Admission(config, "rover")


def shown(token: str | None) -> bytes | None:
    return None if token is None else f"Bearer {token}".encode()


def code(act: Callable[..., None], *arguments: Any) -> str | None:
    try:
        act(*arguments)
    except problems.ProblemError as exc:
        return exc.code
    return None


def made(scope: tokens.Scope, *, team: str = "red", ttl_s: float = 60, **bound: Any) -> Callable[[Path], str]:
    return lambda folder: issuing.Issuer(keys.Signer(folder), team=team).token(scope, ttl_s=ttl_s, **bound)


MINE, OTHER = tokens.instance_audience("rover-1"), tokens.instance_audience("rover-2")
TOKENS: dict[str, tuple[Callable[[Path], str | None], str | None, str | None, str | None]] = {
    # what is shown: how it is made; the control plane, the episode's URL, the default episode's
    "nothing": (lambda _: None, "unauthenticated", "unauthenticated", "unauthenticated"),
    "words": (lambda _: "let me in", "unauthenticated", "unauthenticated", "unauthenticated"),
    "letters that are none": (lambda _: "\xff\xfe", "unauthenticated", "unauthenticated", "unauthenticated"),
    "the router's for this instance": (made("control", audience=MINE), None, None, None),
    "the router's for another": (made("control", audience=OTHER), *["unauthenticated"] * 3),
    "the router's of another team": (made("control", team="blue", audience=MINE), None, *["not_permitted"] * 2),
    "the router's, expired": (made("control", audience=MINE, ttl_s=-60), *["unauthenticated"] * 3),
    "a trainer's": (made("control"), "unauthenticated", None, None),
    "a trainer's of another team": (made("control", team="blue"), "unauthenticated", *["not_permitted"] * 2),
    "an operator's of all teams": (made("admin", team=""), "unauthenticated", None, None),
    "the episode's": (made("agent", episode=EPISODE), "unauthenticated", None, "not_permitted"),
    "another episode's": (made("agent", episode="ep_else"), "unauthenticated", *["not_permitted"] * 2),
    "the episode's of another team": (
        made("agent", team="blue", episode=EPISODE), "unauthenticated", *["not_permitted"] * 2,
    ),
    "the episode's, expired": (made("agent", episode=EPISODE, ttl_s=-60), *["unauthenticated"] * 3),
    "the scenario's": (made("agent", scenario="rover"), "unauthenticated", "not_permitted", None),
    "another scenario's": (made("agent", scenario="shop"), "unauthenticated", *["not_permitted"] * 2),
    "an agent's for this instance": (
        made("agent", episode=EPISODE, audience=MINE), "not_permitted", None, "not_permitted",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", TOKENS)
def test_each_plane_lets_in_whom_it_should(folder: Path, what: str) -> None:
    make, control, episode, default = TOKENS[what]
    token = make(folder)
    header = None if token is None else f"Bearer {token}".encode("latin-1")
    doors = admitted(folder)
    assert (
        code(doors.control, header),
        code(doors.agent, header, EPISODE),
        code(doors.agent, header, None),
    ) == (control, episode, default)


def test_the_shared_token_opens_the_control_plane_beside_signed_ones(folder: Path) -> None:
    for doors in (admitted(folder, shared=True), admitted(None, shared=True)):
        assert code(doors.control, shown(SHARED)) is None
        assert code(doors.control, shown(SHARED + "x")) == "unauthenticated"
        assert code(doors.control, SHARED.encode()) == "unauthenticated"
        assert code(doors.control, b"Basic " + SHARED.encode()) == "unauthenticated"
    assert code(admitted(folder, shared=True).control, shown(made("control", audience=MINE)(folder))) is None
    assert code(admitted(folder, shared=True).agent, shown(SHARED), EPISODE) == "unauthenticated"


def test_without_keys_and_token_everybody_may(folder: Path) -> None:
    doors = admitted(None)
    assert (code(doors.control, None), code(doors.agent, None, EPISODE), code(doors.agent, None, None)) == (None,) * 3
    assert code(admitted(None, shared=True).agent, None, EPISODE) is None


def test_keys_that_are_not_there_are_named_before_anything_is_served(tmp_path: Path) -> None:
    with pytest.raises(errors.PermanentError, match="cannot be read"):
        admitted(tmp_path)


def test_an_instance_without_keys_does_not_even_load_what_checks_signatures() -> None:
    script = "import sys, awm_runtime.server.instance; print(sorted({'jwt', 'cryptography'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
