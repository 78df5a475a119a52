"""`awm up`, `down`, `status` and `logs`: a fleet on this machine."""

import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import rich.table
import typer

from awm_fleet import examples
from awm_fleet.backends.process import controls, states, supervisor
from awm_fleet.cli import calling, output
from awm_fleet.cli.registry_flags import CertificateAuthority, PlainHttp
from awm_runtime import errors
from awm_runtime.server import logs as logs_of_processes

if TYPE_CHECKING:
    from awm_fleet.cli import catalogued

app = typer.Typer()

DEFAULT_STATE = Path(".awm/fleet")
_UP_EXAMPLES = output.examples(
    "awm up",
    "awm up --bundles bundles --port 9000",
    "awm up --catalog registry:registry.example/awm/catalogue:2026-11",
    "awm up --catalog registry:registry.example/awm/catalogue --backend docker --ca registry.pem",
    "awm up --bundles bundles/rover --state /var/tmp/fleet --detach",
)
_DOWN_EXAMPLES = output.examples("awm down", "awm down --state /var/tmp/fleet")
_STATUS_EXAMPLES = output.examples("awm status", "awm status --json")
_LOGS_EXAMPLES = output.examples("awm logs library", "awm logs library --lines 20")

EXIT_PARTLY = 3
_MOST_SHOWN = 30
_START_S = 120.0
_STOP_S = 60.0
_POLL_S = 0.05
_REFRESH_S = 1.0
_STYLES = {"ready": "green", "starting": "yellow", "draining": "yellow", "failed": "bold red", "asleep": "dim"}

State = Annotated[Path, typer.Option("--state", help="Where the fleet keeps all that it knows.")]


@dataclass(frozen=True, slots=True)
class _Catalogue:
    """A catalogue as it was named on the command line, and how its registry is reached."""

    place: str
    plain_http: bool
    ca: Path | None

    def served(self, state: Path) -> "catalogued.Served":
        """What it gives a fleet."""
        from awm_fleet.cli import catalogued  # clients of image registries, which a fleet of folders does not wait for
        from awm_generator.images import sources

        return catalogued.served(self.place, state, sources.Access(plain_http=self.plain_http, ca=self.ca))

    def arguments(self) -> Iterable[str]:
        """The same on a command line."""
        yield from ("--catalog", self.place)
        if self.plain_http:
            yield "--plain_http"
        if self.ca is not None:
            yield from ("--ca", str(self.ca))


@app.command(epilog=_UP_EXAMPLES)
def up(
    bundles: Annotated[
        list[Path] | None,
        typer.Option("--bundles", metavar="DIR", help="A bundle, or a folder of bundles; by default the examples."),
    ] = None,
    catalog: Annotated[
        str | None,
        typer.Option(
            "--catalog", metavar="PLACE", help="A catalogue: its folder, oci:DIR or registry:HOST/REPOSITORY."
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            "--port",
            min=0,
            max=65535,
            help="The port of everything, or of agents where HOST is no loopback address; 0: any.",
        ),
    ] = 8080,
    control_port: Annotated[
        int | None,
        typer.Option(
            "--control_port", min=0, max=65535, help="A port for trainers alone; beyond loopback by default PORT + 1."
        ),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            "--metrics_port",
            min=0,
            max=65535,
            help="A port for probes and metrics; beyond loopback by default PORT + 2.",
        ),
    ] = None,
    state: State = DEFAULT_STATE,
    detach: Annotated[bool, typer.Option("--detach", help="Return once it serves; end it with `awm down`.")] = False,
    routers: Annotated[int, typer.Option("--routers", min=1, max=64, help="Router processes that share the port.")] = 1,
    idle: Annotated[
        float,
        typer.Option("--idle", min=1, help="A scenario that nobody used for so many seconds is put to sleep."),
    ] = supervisor.DEFAULT_IDLE_S,
    plain_http: PlainHttp = False,
    ca: CertificateAuthority = None,
    keys: Annotated[
        Path | None,
        typer.Option("--keys", metavar="DIR", help="Keys that tokens are signed with; then every request needs one."),
    ] = None,
    backend: Annotated[
        supervisor.Kind, typer.Option("--backend", help="What scenarios run as: processes, or hardened containers.")
    ] = "process",
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="REF",
            help="The runtime's base image for containers, see `awm image build`; images of a catalogue have one.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="A host name to answer beside HOST; `*` is for all."),
    ] = None,
    log_format: Annotated[
        logs_of_processes.Format,
        typer.Option(
            "--log_format", help="How the fleet and its routers log: lines for people, or JSON, one object a line."
        ),
    ] = "text",
) -> None:
    """Serve scenarios on one port until Ctrl-C, each asleep until it is used.

    Each scenario answers MCP at http://HOST:PORT/s/NAME/mcp and each episode at /e/ID/mcp; episodes are opened at
    /v1/episodes. Where HOST is no loopback address, agents, trainers and metrics have a port each. The first request
    wakes a scenario. What is open is found again by the next `awm up` on the same --state. Exits with 3 when a bundle
    was left out because it cannot be read.
    """
    named = _Catalogue(catalog, plain_http, ca) if catalog is not None else None
    served = named.served(state) if named is not None else None
    folders = [*(served.folders if served is not None else ()), *(bundles or ())]
    options = supervisor.Options(
        bundles=folders or [examples.path(name) for name in examples.names()],
        state=state,
        host=host,
        port=port,
        control_port=control_port,
        metrics_port=metrics_port,
        routers=routers,
        idle_s=idle,
        keys=keys,
        host_names=tuple(allow_host or ()),
        backend=backend,
        base=base,
        images=served.images if served is not None else {},
        log_format=log_format,
    )
    left_out = _detached(options, named) if detach else _in_front(options)
    if left_out or (served is not None and served.some_are_missing):
        raise typer.Exit(EXIT_PARTLY)


@app.command(epilog=_DOWN_EXAMPLES)
def down(state: State = DEFAULT_STATE) -> None:
    """End the fleet that `awm up` started; returns when nothing of it runs.

    Episodes stay in the state folder for the next `awm up`.
    """
    try:
        controls.Supervisor(state).stop()
    except controls.NoSupervisor:
        if not states.is_held(state):
            output.say(f"nothing runs on {state}")
            return
    deadline = time.monotonic() + _STOP_S
    while states.is_held(state):
        if time.monotonic() > deadline:
            raise errors.PermanentError(f"the fleet on {state} has not ended after {_STOP_S:g} s; its log says why")
        time.sleep(_POLL_S)
    output.say("stopped")


@app.command(epilog=_STATUS_EXAMPLES)
def status(
    state: State = DEFAULT_STATE,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Print the table once, also on a terminal.")] = False,
) -> None:
    """Show what a fleet serves, and what is awake.

    On a terminal the table follows the fleet until Ctrl-C. Exits with 1 when none runs, with 3 when a bundle is left
    out.
    """
    client = controls.Supervisor(state)
    seen = client.status()
    if json_:
        output.document(seen)
    elif output.out.is_terminal and not once:
        _follow(client, seen)
    else:
        output.show(_table(seen))
    for each in seen["problems"]:
        output.warn(f"not served: {each['reason']}")
    if seen["problems"]:
        raise typer.Exit(EXIT_PARTLY)


@app.command(epilog=_LOGS_EXAMPLES)
def logs(
    name: Annotated[str, typer.Argument(help="The scenario.")],
    lines: Annotated[int, typer.Option("--lines", min=1, max=10_000, help="How many.")] = 100,
    state: State = DEFAULT_STATE,
) -> None:
    """Print the last lines that a scenario's process logged."""
    text = controls.Supervisor(state).logs(name, lines=lines)
    sys.stdout.write("".join(char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in text))


def _in_front(options: supervisor.Options) -> bool:
    """Serves here. Returns whether bundles were left out."""
    logs_of_processes.to_standard_error(watched=True, form=options.log_format)
    left_out = False

    def announce(ready: supervisor.Ready) -> None:
        nonlocal left_out
        left_out = bool(ready.shelf.faults)
        for fault in ready.shelf.faults:
            output.warn(f"not served: {fault.reason}")
        names = [entry.name for entry in ready.shelf.entries]
        _introduce(ready.url, ready.control_url, names, stop="Ctrl-C")
        output.say(f"  ready after {ready.seconds:.1f} s\n", "dim")

    supervisor.serve(options, announce)
    return left_out


def _detached(options: supervisor.Options, catalogue: _Catalogue | None) -> bool:
    """Starts the fleet as a process of its own. Returns whether bundles were left out.

    It reads the catalogue again, for its images; the bundles are there by now.

    Raises:
        PermanentError: It does not start; the message is what it said.
    """
    command = [*_arguments(options), *(catalogue.arguments() if catalogue is not None else ())]
    options.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (options.state / states.LOG).open("a+") as log:
        began = log.tell()
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", "from awm_fleet.cli import main; main.main()", *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        seen = _started(process, options.state)
        if seen is None:
            log.seek(began)
            raise errors.PermanentError(f"the fleet did not start: {_last_words(log.read())}")
    for each in seen["problems"]:
        output.warn(f"not served: {each['reason']}")
    names = [each["name"] for each in seen["scenarios"]]
    _introduce(seen["url"], seen["control_url"], names, stop=f"awm down --state {options.state}")
    return bool(seen["problems"])


def _started(process: "subprocess.Popen[bytes]", state: Path) -> dict[str, Any] | None:
    """What it says of itself once it serves; None where it ended before."""
    deadline = time.monotonic() + _START_S
    client = controls.Supervisor(state)
    while process.poll() is None and time.monotonic() < deadline:
        try:
            seen = client.status()
        except controls.NoSupervisor:
            seen = {}
        if seen.get("ready") and seen["pid"] == process.pid:
            return seen
        time.sleep(_POLL_S)
    process.terminate()
    process.wait()
    return None


def _arguments(options: supervisor.Options) -> Iterable[str]:
    yield "up"
    for each in options.bundles:
        yield from ("--bundles", str(each))
    for name, value in (("host", options.host), ("port", options.port), ("state", options.state)):
        yield from (f"--{name}", str(value))
    for plane, own in (("control_port", options.control_port), ("metrics_port", options.metrics_port)):
        if own is not None:
            yield from (f"--{plane}", str(own))
    yield from ("--routers", str(options.routers), "--idle", str(options.idle_s))
    yield from ("--log_format", options.log_format)
    if options.keys is not None:
        yield from ("--keys", str(options.keys))
    yield from ("--backend", options.backend)
    if options.base is not None:
        yield from ("--base", options.base)
    for each_name in options.host_names:
        yield from ("--allow-host", each_name)


def _introduce(url: str, control_url: str, names: Sequence[str], *, stop: str) -> None:
    shown = names[:_MOST_SHOWN]
    rows = ((each, f"{url}/s/{each}/mcp") for each in shown)
    output.table(f"{len(names)} scenarios at {url}", ("scenario", "MCP"), rows)
    if len(shown) < len(names):
        output.say(f"  and {len(names) - len(shown)} more: {calling.awm()} status\n")
    lines = {
        "next": f"{calling.awm()} tools {names[0]}{_at(url)}   (in a second terminal)",
        "episode": f"{calling.awm()} episode open {names[0]}{_at(control_url)}",
        "clients": f"curl {control_url}/v1/mcp.json",
        "watch": f"{calling.awm()} status",
        "stop": stop,
    }
    for name, text in lines.items():
        output.say(f"  {name:<8} {text}")


def _at(url: str) -> str:
    return "" if url == calling.DEFAULT_URL else f" --url {url}"


def _follow(client: controls.Supervisor, seen: dict[str, Any]) -> None:
    """Draws the table again and again, until Ctrl-C or the fleet's end."""
    from rich import live as lives

    try:
        with lives.Live(_table(seen), console=output.out, auto_refresh=False) as live:
            while True:
                time.sleep(_REFRESH_S)
                live.update(_table(client.status()), refresh=True)
    except KeyboardInterrupt:
        return


def _table(seen: dict[str, Any]) -> rich.table.Table:
    awake = [each for each in seen["scenarios"] if each["state"] != "asleep"]
    shown = awake if len(seen["scenarios"]) > _MOST_SHOWN else seen["scenarios"]
    title = (
        f"{len(seen['scenarios'])} scenarios at {seen['url']}, {len(awake)} awake; {len(seen['routers'])} routers, "
        f"up for {seen['uptime_s']:.0f} s"
    )
    return output.drawn(
        title,
        ("scenario", "state", "episodes", "MCP", ""),
        ((each["name"], each["state"], _counted(each["episodes"]), each["mcp_url"], each["reason"]) for each in shown),
        styles=_STYLES,
    )


def _counted(episodes: int | None) -> str:
    return "?" if episodes is None else str(episodes)


def _last_words(log: str) -> str:
    return log[log.rfind("error: ") :].removeprefix("error: ").strip() or "it gave no reason"
