"""The parent of an instance: starts it, watches it, brings it back, and never loads scenario code.

It holds the listening sockets, so that clients queue while a killed instance comes back, and it kills an instance whose
call is past its hard deadline, which the instance itself may be unable to notice.
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import resource
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from awm_runtime import errors
from awm_runtime.bundle import digest
from awm_runtime.server import configuration, hosts, inflight, logs, orphans, settings, storage
from awm_runtime.verification import sandbox

logger = logging.getLogger("awm.keeper")

TICK_S = 0.1
_BACKLOG = 2048
_LONGEST_REPORT = 64 * 1024
_FIRST_BACKOFF_S = 0.05
_LONGEST_BACKOFF_S = 10.0
_MOST_DESCRIPTORS = 1 << 18
_LOG = 2
"""The keeper's standard error. What scenario code prints goes there too: standard output is for whoever asked where
the instance answers, and nobody reads on."""
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "HOME")


class StartFailed(errors.PermanentError):
    """The instance did not become ready.

    Args:
        message: Why, in one sentence.
        detail: The traceback of the scenario's code, where there is one.
    """

    def __init__(self, message: str, *, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


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


@dataclass(frozen=True, slots=True)
class Address:
    """Where a started instance answers."""

    agent_url: str
    control_url: str

    @property
    def mcp_url(self) -> str:
        """The MCP URL of the default episode."""
        return f"{self.agent_url}/mcp"


class Keeper:
    """Keeps one instance running until it is told to stop. To be used in the main thread.

    Raises:
        PermanentError: A port is taken, a token is missing, or the state folder is in use or cannot be written.
        BundleError: The bundle cannot be read, or is another one than `digest` says.
    """

    def __init__(self, options: Options, environment: Mapping[str, str] = os.environ) -> None:
        token = (options.token or "").strip()
        token_hash = hashlib.sha256(token.encode()).hexdigest() if token else options.token_hash
        if not token_hash and not _is_loopback(options.host):
            raise errors.PermanentError(
                f"{options.host} is reachable from other machines: give the control plane a token (AWM_CONTROL_TOKEN)"
            )
        self._limits = settings.Settings.from_environment(environment)
        identity = digest.digest(options.bundle)
        if options.digest not in (None, identity):
            raise errors.BundleError(f"{options.bundle} has the digest {identity}, and {options.digest} is wanted")
        self._state = options.state / identity.removeprefix("sha256:")[:16]
        with contextlib.ExitStack() as taken:
            taken.callback(os.close, _lock(self._state))
            self._agent = taken.enter_context(_listen(options.host, options.port))
            self._control = taken.enter_context(_listen(options.host, options.control_port))
            self._taken = taken.pop_all()
        _raise_descriptor_limit()
        self.address = Address(_url(options.host, self._agent), _url(options.host, self._control))
        self._config = configuration.InstanceConfig(
            bundle=str(options.bundle.resolve()),
            state=str(self._state.resolve()),
            agent_url=self.address.agent_url,
            host_names=(*hosts.LOOPBACK, _authority(options.host), *options.host_names),
            token_hash=token_hash,
            watched=options.watched,
        )
        if options.seeds is not None:
            _take_seed(options.seeds / seed_name(identity), self._config.seed)
        self._environment = _scrubbed(environment)
        self._in_flight = self._table(self._config.in_flight)
        self._left: frozenset[inflight.Entry] = frozenset()
        self._overdue: frozenset[inflight.Entry] = frozenset()
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
            StartFailed: The scenario's code does not load, or exits or hangs while it is loaded.
        """
        with self._signals():
            self._run_once(on_ready)
            backoff_s = _FIRST_BACKOFF_S
            while not self._is_stopping():
                logger.warning("the instance ended; it comes back with its episodes in %.2f s", backoff_s)
                self._wait(backoff_s)
                backoff_s = _FIRST_BACKOFF_S if self._come_back() else min(2 * backoff_s, _LONGEST_BACKOFF_S)

    def _come_back(self) -> bool:
        """One further life of the instance. Returns whether it became ready."""
        try:
            return self._run_once(_nothing)
        except StartFailed as exc:  # it loaded before: a full disk or a busy machine may pass
            logger.error("the instance did not come back: %s\n%s", exc, exc.detail)
            return False

    def close(self) -> None:
        """Gives up the sockets and the state folder."""
        self._in_flight.close()
        for descriptor in (self._wake_read, self._wake_write):
            os.close(descriptor)
        self._taken.close()

    def _run_once(self, on_ready: Callable[[Address], None]) -> bool:
        """One life of the instance. Returns whether it became ready."""
        self._left = frozenset(self._in_flight.entries())  # a killed instance's; the next one takes them back
        report_read, report_write = os.pipe()
        os.set_blocking(report_read, False)
        judge, judge_socket = sandbox.spawn(within=self._state)
        with judge_socket:
            instance = self._start(judge_socket, report_write)
        os.close(report_write)
        ready = False
        try:
            ready = self._watch(instance, judge, report_read, on_ready)
            return ready
        finally:
            os.close(report_read)
            end(instance, self._limits.shutdown_s if ready else 0.0)  # before, there are no calls to wait for
            with contextlib.suppress(ProcessLookupError):  # processes of its episodes that hang in their code
                os.killpg(instance.pid, signal.SIGKILL)
            end(judge, 1.0)

    def _start(self, judge: socket.socket, report: int) -> "subprocess.Popen[bytes]":
        descriptors = configuration.Descriptors(
            agent=self._agent.fileno(), control=self._control.fileno(), judge=judge.fileno(), report=report
        )
        return subprocess.Popen(
            # -P: scenario code may write to the working directory, so nothing is imported from there.
            [sys.executable, "-P", "-m", "awm_runtime.server.instance", self._config.text(), descriptors.text()],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=_LOG,
            pass_fds=(descriptors.agent, descriptors.control, descriptors.judge, descriptors.report),
            cwd=self._state,
            start_new_session=True,  # Ctrl-C reaches the keeper alone, which ends the instance in order
        )

    def _watch(
        self,
        instance: "subprocess.Popen[bytes]",
        judge: "subprocess.Popen[bytes]",
        report: int,
        on_ready: Callable[[Address], None],
    ) -> bool:
        """Watches until the instance ends or is to end. Returns whether it became ready.

        Raises:
            StartFailed: The instance cannot start, or ended before it was ready.
        """
        reader = _ReportReader(report)
        ready = False
        while not self._is_stopping():
            ended = instance.poll() is not None
            if not ready and (said := reader.document()) is not None:
                _raise_failure(said)
                ready = True
                on_ready(self.address)
            if ended and not ready:
                raise StartFailed(f"the instance ended before it was ready ({_how(instance)}); its log is above")
            if ended:
                break
            if judge.poll() is not None:
                logger.warning("the judge ended; the instance is restarted with a new one")
                instance.kill()
            self._kill_if_stuck(instance, ready=ready)
            if os.getpid() == 1:
                orphans.reap((instance.pid, judge.pid))
            self._wait(TICK_S)
        return ready

    def _kill_if_stuck(self, instance: "subprocess.Popen[bytes]", *, ready: bool) -> None:
        now = time.monotonic_ns()
        overdue = frozenset(entry for entry in self._in_flight.entries() if entry.kill_at_ns < now) - self._left
        # Seen twice: an entry that is just being written may look like anything, once.
        stuck = overdue & self._overdue
        self._overdue = overdue
        for entry in stuck:
            instance.kill()
            instance.wait()
            if not ready:
                raise StartFailed(f"the scenario's code did not load within {self._limits.load_deadline_s:g} s")
            logger.error("%s is past its hard deadline: the instance was killed", _named(entry))
            return

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


class _ReportReader:
    """Collects the one line that an instance writes about its start."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._read = b""

    def document(self) -> dict[str, str] | None:
        """The line's JSON, once it is there in full."""
        with contextlib.suppress(BlockingIOError):
            while len(self._read) <= _LONGEST_REPORT and (chunk := os.read(self._descriptor, _LONGEST_REPORT)):
                self._read += chunk
        line, newline, _ = self._read.partition(b"\n")
        if not newline and len(self._read) <= _LONGEST_REPORT:
            return None
        try:
            said = json.loads(line)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise StartFailed("the scenario's code wrote into the pipe that its instance reports on")
        return said


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


def _raise_failure(said: Mapping[str, str]) -> None:
    if "failed" in said:
        raise StartFailed(said["failed"], detail=said.get("detail", ""))


def _named(entry: inflight.Entry) -> str:
    """What a slot of the table stands for."""
    if entry.episode == inflight.EVENT_LOOP:
        return "the event loop, which code that outlived its call may hold,"
    return f"call {entry.number} of {entry.episode} ({logs.shown(entry.tool)})"


def _how(ended: "subprocess.Popen[bytes]") -> str:
    """How a process ended, in words."""
    status = ended.returncode
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


def end(process: "subprocess.Popen[Any]", patience_s: float) -> None:
    """Ends a process: asks first, then kills."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except (OSError, OverflowError) as exc:
        listening.close()
        reason = exc.strerror if isinstance(exc, OSError) else "a port is a number from 0 to 65535"
        raise errors.PermanentError(f"cannot listen on {host}:{port}: {reason}; choose another") from exc
    return listening


def _url(host: str, listening: socket.socket) -> str:
    named = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://{_authority(named)}:{listening.getsockname()[1]}"


def _authority(host: str) -> str:
    """The host as a URL and a Host header name it."""
    return f"[{host}]" if ":" in host else host


def _lock(state: Path) -> int:
    """Takes the state folder for this process; the kernel gives it back when the process ends."""
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise errors.PermanentError(f"the state folder {state} cannot be written: {exc.strerror}") from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        os.close(descriptor)
        raise errors.PermanentError(
            f"another process serves this bundle from {state}; stop it or choose another state folder"
        ) from exc
    return descriptor


def _raise_descriptor_limit() -> None:
    """An episode takes a few descriptors: use as many as the system allows, but so many that all can be closed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _is_loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")


def _scrubbed(environment: Mapping[str, str]) -> dict[str, str]:
    """What the instance sees of the environment: no secret, and what makes runs repeat."""
    kept = {name: environment[name] for name in _KEPT_VARIABLES if name in environment}
    ours = {f"{settings.PREFIX}{name.upper()}" for name in settings.Settings.__dataclass_fields__}
    limits = {name: environment[name] for name in ours if name in environment}
    return {
        **kept,
        **limits,
        "PYTHONHASHSEED": "0",
        "TZ": "UTC",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
