"""`awm token`: what it makes is taken by a router, and what it says of a token is so."""

import re
from pathlib import Path

import commands
import pytest

from awm_registry.tokens import authorities, keys


@pytest.fixture
def awm(capsys: pytest.CaptureFixture[str]) -> commands.Awm:
    return commands.Awm(capsys)


@pytest.fixture
def folder(awm: commands.Awm, tmp_path: Path) -> Path:
    awm.done("token", "rotate", "--keys", tmp_path / "keys")
    return tmp_path / "keys"


def test_a_token_that_was_made_opens_a_router(awm: commands.Awm, folder: Path) -> None:
    made = awm.done(
        "token", "create", "--scope", "control", "--team", "red", "--subject", "ann", "--ttl", "2h", "--keys", folder
    )
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", made.out)
    caller = authorities.TokenAuthority(folder, team="red").caller(made.out.strip())
    assert (caller.scope, caller.subject) == ("control", "ann")


@pytest.mark.parametrize(("bound", "claim"), [("--episode", "ep"), ("--scenario", "scn")])
def test_an_agents_token_is_bound(awm: commands.Awm, folder: Path, bound: str, claim: str) -> None:
    made = awm.done("token", "create", "--scope", "agent", bound, "it", "--keys", folder, "--json").document()
    assert made["claims"][claim] == "it"
    seen = awm.done("token", "inspect", made["token"], "--keys", folder, "--json").document()
    assert (seen["good"], seen["claims"]) == (True, made["claims"])


@pytest.mark.parametrize(("ttl", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("1.5h", 5400), ("7d", 604800)])
def test_durations_have_units(awm: commands.Awm, folder: Path, ttl: str, seconds: int) -> None:
    claims = awm.done("token", "create", "--scope", "admin", "--ttl", ttl, "--keys", folder, "--json").document()[
        "claims"
    ]
    assert claims["exp"] - claims["iat"] == pytest.approx(seconds, abs=1)


def test_what_is_wrong_with_a_token_is_said(awm: commands.Awm, folder: Path, tmp_path: Path) -> None:
    token = awm.done("token", "create", "--scope", "admin", "--keys", folder).out.strip()
    elsewhere = tmp_path / "others"
    awm.done("token", "rotate", "--keys", elsewhere)
    ended = awm("token", "inspect", token, "--keys", elsewhere)
    assert ended.status == 1
    assert "scope   admin" in re.sub(r" {2,}", "   ", ended.out)
    assert "not good: the token is none of this fleet's" in ended.out


def test_a_token_is_read_from_standard_input(
    awm: commands.Awm, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text(awm.done("token", "create", "--scope", "admin", "--keys", folder).out)
    with file.open() as text:
        monkeypatch.setattr("sys.stdin", text)
        assert awm.done("token", "inspect", "-", "--keys", folder, "--json").document()["good"] is True


def test_rotating_says_what_lives(awm: commands.Awm, folder: Path) -> None:
    [first] = keys.load(folder)
    second = awm.done("token", "rotate", "--keys", folder, "--json").document()
    assert second["dropped"] == []
    third = awm.done("token", "rotate", "--keys", folder, "--force")
    assert f"{first.kid} is gone: tokens that it signed are no longer good" in third.out


@pytest.mark.parametrize(
    ("line", "status", "says"),
    [
        ("create --scope control --keys {none}", 1, "no key here; make one with `awm token rotate --keys"),
        ("create --scope root --keys {keys}", 2, "'root' is not one of 'agent', 'control', 'admin'"),
        ("create --scope agent --keys {keys}", 2, "give --episode or --scenario with --scope agent"),
        ("create --scope admin --episode ep_1 --keys {keys}", 2, "and neither with another scope"),
        ("create --scope admin --ttl 0 --keys {keys}", 2, "'0' is no duration up to a year"),
        ("create --scope admin --ttl soon --keys {keys}", 2, "write 90s, 15m, 1h or 7d"),
        ("create --scope admin --ttl 999d --keys {keys}", 2, "up to a year"),
        ("inspect nonsense --keys {keys}", 1, "this is no token"),
        ("rotate --keys {file}", 1, "File exists"),
    ],
)
def test_bad_input_is_one_line(
    awm: commands.Awm, folder: Path, tmp_path: Path, line: str, status: int, says: str
) -> None:
    (tmp_path / "file").touch()
    awm.done("token", "rotate", "--keys", folder)
    ended = awm("token", *line.format(keys=folder, none=tmp_path / "none", file=tmp_path / "file").split())
    assert (ended.status, ended.out) == (status, "")
    assert says in ended.err
    assert ended.err.count("\n") == 1
