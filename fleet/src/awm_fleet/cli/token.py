"""`awm token`: make, look at and rotate what opens a fleet."""

import asyncio
import functools
import sys
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import jwt
import pydantic
import typer

from awm_fleet.cli import output
from awm_registry import errors
from awm_registry.tokens import issuing, keys
from awm_runtime import errors as fleet_errors
from awm_runtime import token_checking
from awm_runtime.contract import problems, tokens

if TYPE_CHECKING:
    from awm_fleet.backends.kubernetes import api

_Done = TypeVar("_Done")

app = typer.Typer(name="token", no_args_is_help=True, help="Make, look at and rotate what opens a fleet.")

_FAILED = 1
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST_S = 366 * 86400

Keys = Annotated[Path, typer.Option("--keys", envvar="AWM_KEYS", help="The folder with the fleet's keys.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

DEFAULT_KEYS = Path(".awm/keys")

Secret = Annotated[
    str | None,
    typer.Option("--secret", metavar="NAMESPACE/NAME", help="A Secret of a cluster with the keys, in place of --keys."),
]
Kubeconfig = Annotated[
    str | None, typer.Option("--kubeconfig", help="The way to that cluster; by default KUBECONFIG's.")
]


def _seconds(text: str) -> float:
    """A duration: `90`, `90s`, `15m`, `1h`, `7d`."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    try:
        seconds = float(number) * _UNITS[unit]
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _LONGEST_S:
        raise typer.BadParameter(f"{text!r} is no duration up to a year: write 90s, 15m, 1h or 7d")
    return seconds


@app.command(
    epilog=output.examples(
        "awm token create --scope control --subject trainer-3 --ttl 12h",
        "awm token create --scope agent --episode ep_...",
        "awm token create --scope agent --scenario rover --subject ann",
        "awm token create --scope control --team red --secret awm/fleet-awm-fleet-keys-red",
    )
)
def create(
    scope: Annotated[tokens.Scope, typer.Option(help="agent: one MCP URL. control: episodes. admin: all.")],
    team: Annotated[str, typer.Option(help="Whose fleet it opens; none on a fleet without teams.")] = "",
    ttl: Annotated[float, typer.Option(parser=_seconds, metavar="DURATION", help="How long it is good.")] = "1h",  # type: ignore[assignment]
    subject: Annotated[str, typer.Option(help="Who will show it; in the audit log.")] = "",
    episode: Annotated[str | None, typer.Option(help="The episode that an agent's token opens.")] = None,
    scenario: Annotated[
        str | None, typer.Option(help="Or the scenario whose default episode of the subject it opens.")
    ] = None,
    folder: Keys = DEFAULT_KEYS,
    secret: Secret = None,
    kubeconfig: Kubeconfig = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and print it. Whoever has it may use it until it expires."""
    signer = keys.Signer(folder) if secret is None else _clusters(secret, kubeconfig, _held)
    issuer = issuing.Issuer(signer, team=team)
    try:
        token = issuer.token(scope, ttl_s=ttl, subject=subject, episode=episode, scenario=scenario)
    except pydantic.ValidationError as exc:
        message = "give --episode or --scenario with --scope agent, and neither with another scope"
        raise typer.BadParameter(message) from exc
    if as_json:
        output.document({"token": token, "claims": _unchecked(token)[1]})
    else:
        output.say(token)


@app.command(epilog=output.examples("awm token inspect - < token", "awm token inspect eyJ... --json"))
def inspect(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="The token, or `-` for standard input.")],
    folder: Keys = DEFAULT_KEYS,
    as_json: AsJson = False,
) -> None:
    """Show what a token says, and whether it is good. Exits with 1 when it is not."""
    text = sys.stdin.read().strip() if token == "-" else token  # noqa: S105 - no password
    header, claims = _unchecked(text)
    fault = _fault(text, folder, claims)
    if as_json:
        output.document({"good": fault is None, "reason": fault, "kid": header.get("kid"), "claims": claims})
    else:
        facts = {"key": header.get("kid"), **{name: _readable(name, value) for name, value in claims.items()}}
        output.table("", ("", ""), facts.items())
        output.say("good" if fault is None else f"not good: {fault}", "bold green" if fault is None else "bold red")
    if fault is not None:
        raise typer.Exit(_FAILED)


@app.command(
    epilog=output.examples(
        "awm token rotate",
        "awm token rotate --keys /etc/awm/keys",
        "awm token rotate --secret awm/fleet-awm-fleet-keys-red",
    )
)
def rotate(
    folder: Keys = DEFAULT_KEYS,
    force: Annotated[
        bool, typer.Option("--force", help="Also when the newest key does not sign yet; tokens in use stop being good.")
    ] = False,
    secret: Secret = None,
    kubeconfig: Kubeconfig = None,
    as_json: AsJson = False,
) -> None:
    """Make a new key; the first time, make the folder.

    Two keys live: the new one signs when everybody has had time to read it, and what the one before signed stays good
    until the next rotation. Nothing is restarted.
    """
    if secret is None:
        done = keys.rotate(folder, now=time.time(), force=force)
        place = {"keys": str(folder), "public": str(folder / keys.PUBLIC)}
    else:
        done = _clusters(secret, kubeconfig, functools.partial(_rotated, force=force))
        place = {"secret": secret}
    signs_from = _moment(done.signs_from)
    if as_json:
        output.document({"kid": done.kid, "signs_from": signs_from, "dropped": list(done.dropped), **place})
        return
    output.say(f"{done.kid} signs from {signs_from}; it is in {secret or folder}")
    for kid in done.dropped:
        output.say(f"{kid} is gone: tokens that it signed are no longer good")


def _clusters(
    secret: str, kubeconfig: str | None, do: "Callable[[api.Api, str, str], Coroutine[Any, Any, _Done]]"
) -> _Done:
    """What comes of doing something with a Secret of a cluster.

    Raises:
        PermanentError: There is no way to a cluster.
    """
    try:
        from awm_fleet.backends.kubernetes import operations
    except ImportError as exc:
        raise fleet_errors.PermanentError(
            f"{exc.name} is not installed: install awm-fleet with its extra, `awm-fleet[kubernetes]`"
        ) from exc
    namespace, slash, name = secret.partition("/")
    if not (namespace and slash and name) or "/" in name:
        raise typer.BadParameter(f"{secret!r}: write NAMESPACE/NAME")

    async def ask() -> _Done:
        async with operations.connected(kubeconfig) as connection:
            return await do(connection, namespace, name)

    return asyncio.run(ask())


async def _held(connection: "api.Api", namespace: str, name: str) -> issuing.Signer:
    from awm_fleet.backends.kubernetes import keyrings

    return await keyrings.held(connection, namespace, name)


async def _rotated(connection: "api.Api", namespace: str, name: str, *, force: bool) -> keys.Rotation:
    from awm_fleet.backends.kubernetes import keyrings

    return await keyrings.rotate(connection, namespace, name, force=force)


def _unchecked(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A token's header and claims, whoever signed it.

    Raises:
        TokenError: It is no token.
    """
    try:
        return jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError as exc:
        raise errors.TokenError(f"this is no token: {exc}") from exc


def _fault(token: str, folder: Path, claims: dict[str, Any]) -> str | None:
    """Why a token is not good; None where it is."""
    checker = token_checking.TokenChecker(keys.public(folder), str(claims.get("aud")))
    try:
        checker.claims(token)
    except problems.ProblemError as exc:
        return exc.detail
    return None


def _readable(name: str, value: Any) -> Any:
    return _moment(value) if name in ("exp", "iat") and isinstance(value, int) else value


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
