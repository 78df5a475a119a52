"""The backend of containers: every environment is a container of a Docker engine on this machine."""

import asyncio
import concurrent.futures
import contextlib
import logging
import os
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx

from awm_fleet.backends import feeds, identities, protocol
from awm_fleet.backends.docker import engine, environments, plans
from awm_generator.images import assembly, layers, model, outputs, references, sources
from awm_registry import directory
from awm_runtime import errors
from awm_runtime.server import keeper

logger = logging.getLogger("awm.fleet")

_THREADS = 16
_KEY = "docker.key"
_KEY_BYTES = 32
_PATIENCE = httpx.Timeout(5.0)
_EVENTS_AGAIN_S = 2.0

T = TypeVar("T")


class DockerBackend:
    """Runs environments as containers. To be made and used in one event loop.

    Containers outlive it: the next backend of the same fleet adopts them. They are reached at their addresses in a
    network of their own, so the engine runs on this machine and Linux.

    Args:
        state: Where the key is kept that control tokens are made with.
        fleet: The fleet's name: lower-case letters, digits and `-`.
        base: The runtime's base image, on which bundles without an image are built.
        limits: What each container may use.
        keys: The public keys of the tokens that routers sign; None: no tokens are asked for.

    Raises:
        TransientError: No engine answers.
        PermanentError: This user may not use it, or the state folder cannot be written.
    """

    def __init__(
        self,
        state: Path,
        *,
        fleet: str = "local",
        base: references.Reference | None = None,
        limits: plans.Limits = plans.Limits(),  # noqa: B008 - frozen
        keys: Path | None = None,
    ) -> None:
        if keys is not None:
            keeper.refuse_private_keys(keys)
        self._keys = keys
        self.engine = engine.Engine(fleet)
        self.feed = feeds.Feed()
        self.http = httpx.AsyncClient(timeout=_PATIENCE, trust_env=False)
        self._secret = _secret(state)
        self._base = base
        self._base_image: model.Image | None = None
        self._kept = contextlib.ExitStack()
        self._limits = limits
        self._threads = concurrent.futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="docker")
        self._building = asyncio.Lock()
        self._environments: dict[protocol.Key, environments.Environment] = {}
        self._closed = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._listening = threading.Thread(target=self._listen, name="docker events", daemon=True)
        self._listening.start()
        self._adopt()

    async def ensure(self, spec: protocol.EnvironmentSpec) -> None:
        self._environment(spec.key).want(spec)

    async def stop(self, key: protocol.Key) -> None:
        await self._environment(key).forget(self._left_behind(key))
        self._environments.pop(key, None)
        if not self._environments:
            await self.run(self.engine.tidy)

    async def instances(self) -> Sequence[directory.Instance]:
        return self.feed.all()

    def watch(self) -> AsyncIterator[directory.Change]:
        return self.feed.watch()

    async def logs(self, key: protocol.Key, *, lines: int = 100) -> str:
        for found in await self.run(self.engine.containers):
            with contextlib.suppress(ValueError, TypeError, KeyError):
                if plans.parsed(found.labels).key == key:
                    return await self.run(self.engine.logs, found.name, lines)
        return ""

    async def sleep_all(self) -> None:
        """Ends every container in order, and removes the network; episodes stay on their volumes.

        Without an engine that answers all is left as it is, for the next fleet to adopt.
        """
        await asyncio.gather(*(each.sleep() for each in self._environments.values()))
        try:
            await self.run(self.engine.tidy)
        except engine.Away as exc:
            logger.warning("containers and the network are left as they are: %s", exc)

    async def close(self) -> None:
        """Stops watching; the containers run on, to be adopted. Twice is fine."""
        if self._closed.is_set():
            return
        self._closed.set()
        await asyncio.gather(*(each.let_go() for each in self._environments.values()))
        self.feed.close()
        await self.http.aclose()
        self._threads.shutdown(wait=True)
        self._kept.close()
        self.engine.close()

    @property
    def closed(self) -> bool:
        """Whether it watches no more."""
        return self._closed.is_set()

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Runs a blocking call on one of a few threads."""
        return await self._loop.run_in_executor(self._threads, function, *arguments)

    async def planned(self, spec: protocol.EnvironmentSpec) -> plans.Plan:
        """The container that a spec asks for; a bundle without an image gets one.

        Raises:
            Away: No engine answers.
        """
        await self.run(self.engine.reach)
        reference = spec.image or await self._built(spec)
        return plans.Plan(
            spec=spec,
            image=await self.run(self.engine.image, reference, spec.digest),
            fleet=self.engine.fleet,
            limits=self._limits,
            token=plans.token(self._secret, identities.instance_id(spec)),
            keys=self._keys,
        )

    async def _built(self, spec: protocol.EnvironmentSpec) -> str:
        if spec.bundle is None:
            raise errors.PermanentError(
                f"{spec.scenario}: containers are made from an image or a bundle; none is named"
            )
        if self._base is None:
            raise errors.PermanentError(
                f"{spec.scenario} has no image: build it with `awm image build`, or name a base"
            )
        async with self._building:
            return await self.run(self._build, spec.bundle, self._base)

    def _build(self, bundle: Path, base: references.Reference) -> str:
        """Builds an image into the engine, as `awm image build --output docker:` does."""
        if self._base_image is None:
            found = self._kept.enter_context(sources.opened(base, sources.Access()))
            assembly.check_base(found, str(base))
            self._base_image = found
        layer = layers.build(bundle)
        image = assembly.assemble(self._base_image, layer)
        with outputs.opened(references.parse("docker:"), sources.Access()) as place:
            [stored] = place.put([(layer.scenario, layer.generation, image)])
        return references.parse(stored.reference).place

    def _environment(self, key: protocol.Key) -> environments.Environment:
        if key not in self._environments:
            self._environments[key] = environments.Environment(key, self)
        return self._environments[key]

    async def _left_behind(self, key: protocol.Key) -> list[str]:
        """Containers of an environment that an earlier fleet or an earlier bundle left."""
        names = []
        for found in await self.run(self.engine.containers):
            with contextlib.suppress(ValueError, TypeError, KeyError):
                if plans.parsed(found.labels).key == key:
                    names.append(found.name)
        return names

    def _adopt(self) -> None:
        """Takes over the containers that an earlier fleet of this name left running."""
        for found in self.engine.containers():
            try:
                spec = plans.parsed(found.labels)
            except (ValueError, TypeError, KeyError):
                logger.warning("the container %s is labelled as ours and not understood; it is left alone", found.name)
                continue
            logger.info("%s is adopted", found.name)
            self._environment(spec.key).want(spec)

    def _listen(self) -> None:
        """Nudges environments whose containers end; an engine that went away is listened to when it is back."""
        told = False
        while not self._closed.is_set():
            try:
                self.engine.ends(self._ended, self._closed)
                told = False
            except errors.AwmError as exc:
                if not told:
                    logger.warning("the engine's events are not to be had: %s", exc)
                told = True
            self._ended("")
            self._closed.wait(_EVENTS_AGAIN_S)

    def _ended(self, _name: str) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._nudge_all)

    def _nudge_all(self) -> None:
        for each in self._environments.values():
            each.nudge()


def _secret(state: Path) -> bytes:
    """The key of a fleet, made on first use."""
    path = state / _KEY
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
        return path.read_bytes()
    except OSError as exc:
        raise errors.PermanentError(f"{path} cannot be written: {exc.strerror}") from exc
