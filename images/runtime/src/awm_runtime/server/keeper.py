"""The parent of an instance: starts it, watches it, brings it back, and never loads scenario code.

It holds the listening sockets, so that clients queue while a killed instance comes back, and it kills an instance whose
call is past its hard deadline, which the instance itself may be unable to notice.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import selectors
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from awm_runtime import errors
from awm_runtime.bundle import digest
from awm_runtime.server import configuration, hosts, inflight, lives, orphans, settings, sockets, storage
from awm_runtime.verification import sandbox

logger = logging.getLogger("awm.keeper")

TICK_S = 0.1
_LOG = 2
"""The keeper's standard error. What scenario code prints goes there too: standard output is for whoever asked where
the instance answers, and nobody reads on."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to serve, and where.

    Attributes:
        bundle: The bundle's folder.
        state: Where episodes live. Every bundle has a folder of its own in it, named by its digest.
        host: The address of both planes.
        port: The agent plane's port; 0: any.
        control_port: The control plane's port; 0: any.
        token: The control plane's token; this or its hash must be given where `host` is not loopback.
        token_hash: SHA-256 (hex) of that token, for places where no secret may be.
        host_names: Host names that are answered beside the loopback ones; `*` for all.
        watched: Whether a person reads the log: then each call and each episode has a line.
        digest: What the bundle's digest must be; an image says so of its bundle.
        seeds: A folder with databases that were built before, each named by its bundle's digest (`seed_name`).
        keys: A file with public keys: then both planes take tokens that were signed with them, and agents need one.
        id: The id that control tokens for this instance alone name.
        team: Whose tokens are taken.
    """

    bundle: Path
    state: Path
    host: str = "127.0.0.1"
    port: int = 8001
    control_port: int = 8002
    token: str | None = None
    token_hash: str | None = None
    host_names: tuple[str, ...] = ()
    watched: bool = False
    digest: str | None = None
    seeds: Path | None = None
    keys: Path | None = None
    id: str = ""
    team: str = ""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a started instance answers."""

    agent_url: str
    control_url: str

    @property
    def mcp_url(self) -> str:
        """The MCP URL of the default episode."""
        return f"{self.agent_url}/mcp"


def refuse_private_keys(keys: Path) -> None:
    """Refuses public keys that scenario code could not be shown alone.

    Raises:
        PermanentError: Private keys are in the same folder.
    """
    if any(keys.parent.glob("*.pem")):
        raise errors.PermanentError(
            f"{keys.parent}: private keys are beside the public ones, and scenario code could read them: "
            "give an instance a folder with the public file alone"
        )


class Keeper:
    """Keeps one instance running until it is told to stop. To be used in the main thread.

    Raises:
        PermanentError: A port is taken, a token is missing, or the state folder is in use or cannot be written.
        BundleError: The bundle cannot be read, or is another one than `digest` says.
    """

    def __init__(self, options: Options, environment: Mapping[str, str] = os.environ) -> None:
        token = (options.token or "").strip()
        token_hash = hashlib.sha256(token.encode()).hexdigest() if token else options.token_hash
        if not token_hash and options.keys is None and not sockets.is_loopback(options.host):
            raise errors.PermanentError(
                f"{options.host} is reachable from other machines: give the control plane a token (AWM_CONTROL_TOKEN) "
                "or the public keys of signed ones (AWM_TOKEN_KEYS)"
            )
        if options.keys is not None:
            refuse_private_keys(options.keys)
        self._limits = settings.Settings.from_environment(environment)
        identity = digest.digest(options.bundle)
        if options.digest not in (None, identity):
            raise errors.BundleError(f"{options.bundle} has the digest {identity}, and {options.digest} is wanted")
        self._state = options.state / identity.removeprefix("sha256:")[:16]
        with contextlib.ExitStack() as taken:
            taken.callback(
                os.close,
                lock(
                    self._state,
                    f"another process serves this bundle from {self._state}; stop it or choose another state folder",
                ),
            )
            self._agent = taken.enter_context(sockets.listen(options.host, options.port))
            self._control = taken.enter_context(sockets.listen(options.host, options.control_port))
            self._taken = taken.pop_all()
        sockets.raise_descriptor_limit()
        self.address = Address(sockets.url(options.host, self._agent), sockets.url(options.host, self._control))
        self._config = configuration.InstanceConfig(
            bundle=str(options.bundle.resolve()),
            state=str(self._state.resolve()),
            agent_url=self.address.agent_url,
            host_names=(*hosts.LOOPBACK, sockets.authority(options.host), *options.host_names),
            token_hash=token_hash,
            watched=options.watched,
            keys=str(options.keys.absolute()) if options.keys is not None else None,
            id=options.id,
            team=options.team,
        )
        if options.seeds is not None:
            _take_seed(options.seeds / seed_name(identity), self._config.seed)
        self._environment = configuration.scrubbed(environment)
        self._in_flight = self._table(self._config.in_flight)
        self._stopping = False
        self._wake_read, self._wake_write = os.pipe()

    def _table(self, path: Path) -> inflight.InFlightTable:
        try:
            return inflight.InFlightTable(path)
        except OSError as exc:
            self._taken.close()
            raise errors.PermanentError(f"{path} cannot be written: {exc.strerror}") from exc

    def run(self, on_ready: Callable[[Address], None]) -> None:
        """Serves until SIGTERM or SIGINT; `on_ready` is called once, when the first calls are answered.

        An instance that was ready once holds episodes, so it is brought back for as long as that takes.

        Raises:
            lives.StartFailed: The scenario's code does not load, or exits or hangs while it is loaded.
        """
        with self._signals():
            self._live_once(on_ready)
            backoff = lives.Backoff()
            while not self._is_stopping():
                logger.warning("the instance ended; it comes back with its episodes in %.2f s", backoff.next_s)
                self._wait(backoff.next_s)
                backoff.note(came_back=self._come_back())

    def _come_back(self) -> bool:
        """One further life of the instance. Returns whether it became ready."""
        try:
            return self._live_once(_nothing)
        except lives.StartFailed as exc:  # it loaded before: a full disk or a busy machine may pass
            logger.error("the instance did not come back: %s\n%s", exc, exc.detail)
            return False

    def close(self) -> None:
        """Gives up the sockets and the state folder."""
        self._in_flight.close()
        for descriptor in (self._wake_read, self._wake_write):
            os.close(descriptor)
        self._taken.close()

    def _live_once(self, on_ready: Callable[[Address], None]) -> bool:
        """One life of the instance. Returns whether it became ready."""
        left = frozenset(self._in_flight.entries())
        report_read, report_write = os.pipe()
        judge, judge_socket = sandbox.spawn(within=self._state)
        with judge_socket:
            instance = self._start(judge_socket, report_write)
        os.close(report_write)
        life = lives.Life(
            instance, judge, report=report_read, in_flight=self._in_flight, left=left, limits=self._limits
        )
        try:
            return self._watch(life, on_ready)
        finally:
            end(instance, life.patience_s)
            life.end_group()
            life.close()
            end(judge, 1.0)

    def _start(self, judge: socket.socket, report: int) -> "subprocess.Popen[bytes]":
        descriptors = configuration.Descriptors(
            agent=self._agent.fileno(), control=self._control.fileno(), judge=judge.fileno(), report=report
        )
        return lives.spawn(self._config, descriptors, environment=self._environment, log=_LOG)

    def _watch(self, life: lives.Life, on_ready: Callable[[Address], None]) -> bool:
        """Watches until the instance ends or is to end. Returns whether it became ready.

        Raises:
            StartFailed: The instance cannot start, or ended before it was ready.
        """
        announced = False
        while not self._is_stopping() and life.look():
            if life.ready and not announced:
                announced = True
                on_ready(self.address)
            if os.getpid() == 1:
                orphans.reap(life.pids)
            self._wait(TICK_S)
        return life.ready

    def _is_stopping(self) -> bool:
        """Whether a signal asked to stop; it may come at any moment."""
        return self._stopping

    def _wait(self, seconds: float) -> None:
        """Sleeps, but not through a signal."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_read, selectors.EVENT_READ)
            selector.select(seconds)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def stop(_signal: int, _frame: FrameType | None) -> None:
            self._stopping = True
            os.write(self._wake_write, b"x")

        earlier = {each: signal.signal(each, stop) for each in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for each, handler in earlier.items():
                signal.signal(each, handler)


def serve(options: Options, on_ready: Callable[[Address], None]) -> None:
    """Serves a bundle until SIGTERM or SIGINT; see `Keeper` for what it raises."""
    keeper = Keeper(options)
    try:
        keeper.run(on_ready)
    finally:
        keeper.close()


def seed_name(identity: str) -> str:
    """The file name of a database that was built before, for the bundle with the digest `identity`."""
    return f"{identity.removeprefix('sha256:')}.db"


def _take_seed(built: Path, seed: Path) -> None:
    """Copies a database that belongs to the bundle to where the instance would build it."""
    if built.is_file() and not seed.exists():
        storage.copy(built, seed)


def _nothing(_address: Address) -> None:
    """What is called when an instance came back: its clients know its address."""


def end(process: "subprocess.Popen[Any]", patience_s: float) -> None:
    """Ends a process: asks first, then kills."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def lock(state: Path, taken: str) -> int:
    """Takes a state folder for this process; the kernel gives it back when the process ends.

    Args:
        state: The folder; made where it is missing.
        taken: What to say where another process has it.

    Raises:
        PermanentError: Another process has it, or it cannot be written.
    """
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise errors.PermanentError(f"the state folder {state} cannot be written: {exc.strerror}") from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        os.close(descriptor)
        raise errors.PermanentError(taken) from exc
    return descriptor
