"""What an environment holds while it is awake: bound sockets, a token, a log. A sleeping one holds nothing."""

import asyncio
import contextlib
import hashlib
import logging
import os
import secrets
import select
import socket
from pathlib import Path
from typing import Any

from awm_fleet.backends import identities, protocol
from awm_fleet.backends.process import journals, spawning
from awm_registry import directory
from awm_runtime.server import configuration, inflight, lives, settings, sockets

logger = logging.getLogger("awm.fleet")

LOG = "instance.log"
_HOST = "127.0.0.1"
_POLL_S = 0.01
_AGAIN_S = 1.0


class Waking:
    """The time from one sleep to the next. Clients queue on its sockets while its instance comes back.

    Args:
        spec: What is wanted.
        home: The environment's folder.
        limits: The instance's settings.
        keys: The public keys of the tokens that routers sign, which the instance checks on both planes; None: a token
            of its own opens its control plane, and nothing is asked for on the other.

    Raises:
        OSError: No descriptors or no room are left.
    """

    def __init__(
        self, spec: protocol.EnvironmentSpec, home: Path, limits: settings.Settings, *, keys: Path | None = None
    ) -> None:
        self.spec = spec
        self.id = identities.instance_id(spec)
        self._home = home
        self._limits = limits
        self._token = secrets.token_urlsafe(32) if keys is None else None
        state = state_folder(spec, home)
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.ExitStack() as held:
            self._agent = held.enter_context(sockets.listen(_HOST, 0))
            self._control = held.enter_context(sockets.listen(_HOST, 0))
            self._journal = journals.Journal(home / LOG)
            held.callback(self._journal.close)
            self._config = configuration.InstanceConfig(
                bundle=str(spec.bundle.resolve()) if spec.bundle is not None else "",
                state=str(state),
                agent_url=sockets.url(_HOST, self._agent),
                token_hash=hashlib.sha256(self._token.encode()).hexdigest() if self._token is not None else None,
                keys=str(keys) if keys is not None else None,
                id=self.id,
                team=spec.team,
            )
            self._table = inflight.InFlightTable(self._config.in_flight)
            held.callback(self._table.close)
            self._held = held.pop_all()

    def instance(
        self, state: directory.State, *, reason: str | None = None, diagnostics: dict[str, Any] | None = None
    ) -> directory.Instance:
        """The instance as it is told to others; a failed one answers nowhere."""
        answers = state != "failed"
        return directory.Instance(
            id=self.id,
            team=self.spec.team,
            scenario=self.spec.scenario,
            generation=self.spec.generation,
            bundle=self.spec.digest,
            state=state,
            agent_url=self._config.agent_url if answers else None,
            control_url=sockets.url(_HOST, self._control) if answers else None,
            control_token=self._token if answers else None,
            reason=reason,
            diagnostics=diagnostics,
        )

    def pulse(self) -> inflight.Pulse:
        """What the instance said of its use."""
        return self._table.pulse()

    def has_callers(self) -> bool:
        """Whether somebody connected whom no instance has accepted yet."""
        poll = select.poll()
        for each in (self._agent, self._control):
            poll.register(each, select.POLLIN)
        return bool(poll.poll(0))

    async def start(self, spawner: spawning.Spawner) -> "JudgedLife":
        """Starts the instance; its judge waits for the first verification.

        Raises:
            OSError: There is no room for another process.
        """
        left = frozenset(self._table.entries())
        with contextlib.ExitStack() as undo:
            report, report_end = os.pipe()
            undo.callback(os.close, report)
            with contextlib.ExitStack() as given:
                given.callback(os.close, report_end)
                judge, judge_end = socket.socketpair()
                undo.callback(judge.close)
                given.callback(judge_end.close)
                instance = await spawner.instance(
                    self._config,
                    configuration.Descriptors(
                        agent=self._agent.fileno(),
                        control=self._control.fileno(),
                        judge=judge_end.fileno(),
                        report=report_end,
                    ),
                    name=f"awm:{self.spec.scenario}",
                    settings=self.spec.settings,
                    log=self._journal.writing,
                )
            undo.pop_all()
        life = lives.Life(instance, None, report=report, in_flight=self._table, left=left, limits=self._limits)
        return JudgedLife(life, judge, spawner, name=f"judge:{self.spec.scenario}", within=self._config.state_folder)

    def last_words(self, lines: int) -> list[str]:
        """The last lines of the log, with those that are on their way."""
        self._journal.take()
        return journals.tail(self._home / LOG, lines).splitlines()

    def close(self) -> None:
        """Gives all of it up."""
        self._held.close()


class JudgedLife:
    """A life, and the judge that is forked for it once it asks for a verdict.

    Args:
        life: The instance as it is watched.
        judge: The other end of the socket that it speaks with its judge on.
        spawner: What forks the judge.
        name: The judge's, for `ps`.
        within: What it may show to verifiers.
    """

    def __init__(
        self, life: lives.Life, judge: socket.socket, spawner: spawning.Spawner, *, name: str, within: Path
    ) -> None:
        self.life = life
        self._sock = judge
        self._spawner = spawner
        self._name = name
        self._within = within
        self._loop = asyncio.get_running_loop()
        self._forking: asyncio.Task[None] | None = None
        self._again: asyncio.TimerHandle | None = None
        self._loop.add_reader(judge, self._asked)

    async def end(self) -> None:
        """Ends the instance in order, or, when its patience is over, at once; nothing of it is left."""
        instance = self.life.instance
        instance.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.life.patience_s):
                await _ended(instance)
        instance.kill()
        await _ended(instance)
        self.life.end_group()
        await self._end_judge()
        self.life.close()

    def _asked(self) -> None:
        """The instance wrote its first request, or it is gone."""
        self._loop.remove_reader(self._sock)
        if self._sock.recv(1, socket.MSG_PEEK):
            self._forking = self._loop.create_task(self._fork(), name=self._name)

    async def _fork(self) -> None:
        try:
            self.life.judge = await self._spawner.judge(self._sock, name=self._name, within=self._within)
        except OSError as exc:
            logger.error("no %s: %s; it is tried again", self._name, exc)
            self._again = self._loop.call_later(_AGAIN_S, self._asked)
        else:
            self._sock.close()

    async def _end_judge(self) -> None:
        if self._again is not None:
            self._again.cancel()
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock)
        if self._forking is not None:
            await asyncio.wait([self._forking])
        self._sock.close()
        if self.life.judge is not None:
            self.life.judge.kill()
            await _ended(self.life.judge)


async def _ended(process: lives.Process) -> None:
    while process.poll() is None:  # noqa: ASYNC110 - nothing else tells of a child's end on every system
        await asyncio.sleep(_POLL_S)


def state_folder(spec: protocol.EnvironmentSpec, home: Path) -> Path:
    """Where the seed and the episodes of a bundle are: another bundle never meets them."""
    return home / spec.digest.removeprefix("sha256:")[:16]
