"""Tokens that open what they should, and everything else that somebody may show in their place."""

import base64
import json
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from awm_registry import errors
from awm_registry.router import authority
from awm_registry.tokens import authorities, issuing, keys
from awm_runtime import errors as runtime_errors
from awm_runtime import token_checking
from awm_runtime.contract import problems, tokens

HOUR = 3600.0
EPISODE, OTHER = "ep_mine", "ep_other"


class Clock:
    def __init__(self) -> None:
        self.at = datetime(2026, 11, 24, tzinfo=UTC).timestamp()

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one key; it is looked at anew for each token."""
    for module in (token_checking, keys):
        monkeypatch.setattr(module, "_LOOK_EVERY_S", -1.0)
    keys.rotate(tmp_path / "keys", now=clock())
    return tmp_path / "keys"


def issuer(folder: Path, clock: Clock, team: str = "red") -> issuing.Issuer:
    return issuing.Issuer(keys.Signer(folder, now=clock), team=team, now=clock)


def doors(folder: Path, clock: Clock, team: str = "red") -> authorities.TokenAuthority:
    return authorities.TokenAuthority(folder, team=team, now=clock)


def code_of(act: Callable[[], object]) -> str | None:
    try:
        act()
    except problems.ProblemError as exc:
        return exc.code
    return None


def claims(clock: Clock, **changes: Any) -> dict[str, Any]:
    now = int(clock())
    whole = {"iss": "awm", "aud": "awm", "scope": "admin", "team": "red", "iat": now, "exp": now + 60, "jti": "1"}
    return {name: value for name, value in (whole | changes).items() if value is not None}


def signed(folder: Path, said: dict[str, Any], **header: Any) -> str:
    [key] = keys.load(folder)
    return jwt.encode(said, key.private, algorithm="EdDSA", headers={"kid": key.kid, **header})


def unsigned(said: dict[str, Any], header: dict[str, Any]) -> str:
    parts = (json.dumps(each).encode() for each in (header, said))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."


def test_a_token_says_who_shows_it(folder: Path, clock: Clock) -> None:
    made = issuer(folder, clock)
    control = made.token("control", ttl_s=HOUR, subject="trainer-3")
    agent = made.for_agent(EPISODE, datetime.fromtimestamp(clock() + 60, UTC), subject="trainer-3")
    scenario = made.token("agent", ttl_s=HOUR, subject="ann", scenario="rover")
    authority_ = doors(folder, clock)
    assert authority_.caller(control) == authority.Caller(scope="control", subject="trainer-3")
    assert authority_.caller(agent) == authority.Caller(scope="agent", subject="trainer-3", episode=EPISODE)
    assert authority_.caller(scenario) == authority.Caller(scope="agent", subject="ann", scenario="rover")


@pytest.mark.parametrize(
    ("scope", "bound", "needed", "target", "expected"),
    [
        ("agent", {"episode": EPISODE}, "agent", {"episode": EPISODE}, None),
        ("agent", {"episode": EPISODE}, "agent", {"episode": OTHER}, "not_permitted"),
        ("agent", {"episode": EPISODE}, "agent", {"scenario": "rover"}, "not_permitted"),
        ("agent", {"scenario": "rover"}, "agent", {"scenario": "rover"}, None),
        ("agent", {"scenario": "rover"}, "agent", {"scenario": "shop"}, "not_permitted"),
        ("agent", {"scenario": "rover"}, "agent", {"episode": EPISODE}, "not_permitted"),
        ("agent", {"episode": EPISODE}, "control", {}, "not_permitted"),
        ("agent", {"episode": EPISODE}, "admin", {}, "not_permitted"),
        ("control", {}, "agent", {"episode": OTHER}, None),
        ("control", {}, "control", {}, None),
        ("control", {}, "admin", {}, "not_permitted"),
        ("admin", {}, "admin", {}, None),
    ],
)
def test_a_scope_opens_what_it_should_and_nothing_else(
    folder: Path,
    clock: Clock,
    scope: tokens.Scope,
    bound: dict[str, str],
    needed: authority.Scope,
    target: dict[str, str],
    expected: str | None,
) -> None:
    caller = doors(folder, clock).caller(issuer(folder, clock).token(scope, ttl_s=HOUR, **bound))
    assert code_of(lambda: authority.require(caller, needed, **target)) == expected


Forger = Callable[[Path, Clock], str]

FORGED: dict[str, Forger] = {
    "nothing": lambda *_: "",
    "words": lambda *_: "let me in",
    "three parts": lambda *_: "a.b.c",
    "endless": lambda folder, clock: signed(folder, claims(clock, sub="x" * 5000)),
    "not signed": lambda folder, clock: unsigned(claims(clock), {"alg": "none", "kid": keys.load(folder)[0].kid}),
    "signed with the public key as a password": lambda folder, clock: jwt.encode(
        claims(clock),
        base64.b64encode(b"public" * 8).decode(),
        algorithm="HS256",
        headers={"kid": keys.load(folder)[0].kid},
    ),
    "another fleet's key under our id": lambda folder, clock: jwt.encode(
        claims(clock),
        ed25519.Ed25519PrivateKey.generate(),
        algorithm="EdDSA",
        headers={"kid": keys.load(folder)[0].kid},
    ),
    "an unknown key": lambda folder, clock: signed(folder, claims(clock), kid="nobody"),
    "a key id that is no text": lambda _, clock: unsigned(claims(clock), {"alg": "EdDSA", "kid": ["a"]}) + "AA",
    "no expiry": lambda folder, clock: signed(folder, claims(clock, exp=None)),
    "another issuer": lambda folder, clock: signed(folder, claims(clock, iss="else")),
    "another audience": lambda folder, clock: signed(folder, claims(clock, aud="else")),
    "an instance's audience": lambda folder, clock: signed(folder, claims(clock, aud=tokens.instance_audience("i1"))),
    "an unknown scope": lambda folder, clock: signed(folder, claims(clock, scope="root")),
    "an agent's that is bound to nothing": lambda folder, clock: signed(folder, claims(clock, scope="agent")),
    "an agent's that is bound to two": lambda folder, clock: signed(
        folder, claims(clock, scope="agent", ep=EPISODE, scn="rover")
    ),
    "an admin's that is bound": lambda folder, clock: signed(folder, claims(clock, ep=EPISODE)),
}


@pytest.mark.parametrize("what", FORGED)
def test_what_is_no_token_of_ours_opens_nothing(folder: Path, clock: Clock, what: str) -> None:
    authority_ = doors(folder, clock)
    assert code_of(lambda: authority_.caller(signed(folder, claims(clock)))) is None
    for _ in range(2):  # the second time, a good answer would come from the cache
        assert code_of(lambda: authority_.caller(FORGED[what](folder, clock))) == "unauthenticated"


def test_every_changed_letter_of_a_token_makes_it_worthless(folder: Path, clock: Clock) -> None:
    authority_ = doors(folder, clock)
    good = issuer(folder, clock).token("control", ttl_s=HOUR)
    authority_.caller(good)
    ends = {good.rfind("."), len(good) - 1, *(at for at, letter in enumerate(good) if letter == ".")}
    changed = [
        good[:at] + ("A" if good[at] != "A" else "B") + good[at + 1 :] for at in range(len(good)) if at not in ends
    ]
    assert {code_of(lambda token=token: authority_.caller(token)) for token in changed} == {"unauthenticated"}


def test_without_a_token_one_is_asked_for(folder: Path, clock: Clock) -> None:
    with pytest.raises(problems.ProblemError, match="asks for a token") as caught:
        doors(folder, clock).caller(None)
    assert caught.value.code is problems.Code.UNAUTHENTICATED


def test_an_expired_token_opens_nothing_even_if_it_did_before(folder: Path, clock: Clock) -> None:
    authority_ = doors(folder, clock)
    token = issuer(folder, clock).token("control", ttl_s=60)
    authority_.caller(token)
    clock.at += 61
    authority_.caller(token)  # clocks differ by a few seconds
    clock.at += 10
    with pytest.raises(problems.ProblemError, match="expired") as caught:
        authority_.caller(token)
    assert caught.value.code is problems.Code.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("scope", "team", "expected"),
    [
        ("control", "blue", "not_permitted"),
        ("control", "", "not_permitted"),
        ("admin", "blue", "not_permitted"),
        ("admin", "", None),
        ("control", "red", None),
    ],
)
def test_a_token_opens_its_teams_fleet_only(
    folder: Path, clock: Clock, scope: tokens.Scope, team: str, expected: str | None
) -> None:
    token = issuer(folder, clock, team).token(scope, ttl_s=HOUR)
    assert code_of(lambda: doors(folder, clock, "red").caller(token)) == expected


def test_an_agents_token_outlives_the_first_lease(folder: Path, clock: Clock) -> None:
    authority_ = doors(folder, clock)
    anybody = authority.Caller(scope="control", subject="ann")
    token = authority_.agent_token(anybody, EPISODE, datetime.fromtimestamp(clock() + 60, UTC))
    clock.at += 20 * HOUR
    assert authority_.caller(token).episode == EPISODE
    clock.at += 5 * HOUR
    assert code_of(lambda: authority_.caller(token)) == "unauthenticated"


def test_an_instances_token_is_for_that_instance_and_short_lived(folder: Path, clock: Clock) -> None:
    authority_ = doors(folder, clock)
    first = authority_.instance_token("i1")
    assert authority_.instance_token("i1") == first
    mine, other = (
        token_checking.TokenChecker(folder / keys.PUBLIC, tokens.instance_audience(id), now=clock)
        for id in ("i1", "i2")
    )
    assert mine.claims(first).scope == "control"
    assert code_of(lambda: other.claims(first)) == "unauthenticated"
    clock.at += issuing.INSTANCE_S * 0.6
    assert authority_.instance_token("i1") != first
    clock.at += issuing.INSTANCE_S
    assert code_of(lambda: mine.claims(first)) == "unauthenticated"


def test_a_rotation_is_seen_without_a_restart_and_old_tokens_stay_good_until_the_next(
    folder: Path, clock: Clock
) -> None:
    authority_, made = doors(folder, clock), issuer(folder, clock)
    [first] = keys.load(folder)
    old = made.token("control", ttl_s=24 * HOUR)
    clock.at += 1
    second = keys.rotate(folder, now=clock())
    assert second.dropped == ()
    assert jwt.get_unverified_header(made.token("control", ttl_s=HOUR))["kid"] == first.kid
    clock.at += keys.SETTLE_S
    new = made.token("control", ttl_s=24 * HOUR)
    assert jwt.get_unverified_header(new)["kid"] == second.kid
    assert [code_of(lambda token=token: authority_.caller(token)) for token in (old, new)] == [None, None]
    third = keys.rotate(folder, now=clock())
    assert third.dropped == (first.kid,)
    assert [code_of(lambda token=token: authority_.caller(token)) for token in (old, new)] == ["unauthenticated", None]
    assert sorted(path.name for path in folder.rglob("*.*")) == sorted(
        [f"{second.kid}.pem", f"{third.kid}.pem", "jwks.json"]
    )


def test_a_rotation_too_soon_is_refused_because_it_would_cost_the_tokens_in_use(folder: Path, clock: Clock) -> None:
    [first] = keys.load(folder)
    clock.at += 1
    keys.rotate(folder, now=clock())
    with pytest.raises(errors.TokenError, match="signs in 120 s only: rotate then, or give --force"):
        keys.rotate(folder, now=clock())
    assert keys.rotate(folder, now=clock(), force=True).dropped == (first.kid,)


def test_the_public_file_holds_no_private_key_and_the_private_ones_are_their_owners(folder: Path) -> None:
    [public] = json.loads((folder / keys.PUBLIC).read_bytes())["keys"]
    assert sorted(public) == ["alg", "crv", "kid", "kty", "use", "x"]
    assert stat.S_IMODE((folder / f"{public['kid']}.pem").stat().st_mode) == 0o600


def test_a_half_written_public_file_changes_nothing(folder: Path, clock: Clock) -> None:
    authority_ = doors(folder, clock)
    token = issuer(folder, clock).token("control", ttl_s=HOUR)
    whole = (folder / keys.PUBLIC).read_text()
    (folder / keys.PUBLIC).write_text(whole[:20])
    assert authority_.caller(token).scope == "control"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda pem: pem.unlink(), "no key here; make one with `awm token rotate"),
        (lambda pem: pem.chmod(0o644), "everybody can read this private key; run chmod 600"),
        (lambda pem: pem.write_text("-----BEGIN"), "not a private key in PEM"),
        (lambda pem: pem.rename(pem.with_name("mine.pem")), "not a key that `awm token rotate` made"),
    ],
)
def test_a_folder_without_a_usable_key_is_refused_by_name(
    folder: Path, spoil: Callable[[Path], object], reason: str
) -> None:
    [pem] = folder.glob("*.pem")
    spoil(pem)
    with pytest.raises(errors.TokenError, match=reason) as caught:
        keys.Signer(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    "content", [None, "{", "[]", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "AA", "kid": "1"}]}']
)
def test_what_is_no_set_of_public_keys_is_refused_by_name(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "jwks.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(runtime_errors.PermanentError, match=str(path)):
        token_checking.TokenChecker(path)


def test_a_private_key_in_the_public_set_is_refused(folder: Path) -> None:
    path = folder / keys.PUBLIC
    whole = json.loads(path.read_bytes())
    whole["keys"][0]["d"] = base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
    path.write_text(json.dumps(whole))
    with pytest.raises(runtime_errors.PermanentError, match="or a private one"):
        token_checking.TokenChecker(path)


def test_the_files_of_a_secret_are_keys_as_a_folder_is(folder: Path, clock: Clock, tmp_path: Path) -> None:
    files = keys.files(keys.load(folder))
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    for name, content in files.items():
        (mounted / name).write_bytes(content)
        (mounted / name).chmod(0o440)
    assert keys.files(keys.parsed(files)) == files
    token = issuer(mounted, clock).token("control", ttl_s=HOUR)
    for each in (folder, mounted):
        assert doors(each, clock).caller(token).scope == "control"
    with pytest.raises(errors.TokenError, match="no key here"):
        keys.parsed({"jwks.json": files["jwks.json"]})


def test_the_keys_of_a_secret_are_rotated_as_those_of_a_folder(clock: Clock) -> None:
    first, _ = keys.rotated([], now=clock())
    second, done = keys.rotated(first, now=clock())
    assert (len(second), done.dropped) == (2, ())
    assert keys.signing(second, clock()) == first[0]
    with pytest.raises(errors.TokenError, match="rotate then"):
        keys.rotated(second, now=clock())
    third, done = keys.rotated(second, now=clock() + 2 * keys.SETTLE_S)
    assert done.dropped == (first[0].kid,)
    assert third[0] == second[1]
