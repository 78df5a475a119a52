"""What an operator does with a cluster's environments, with the rights of their own kubeconfig."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

from awm_fleet.backends.kubernetes import api, model, names
from awm_runtime import errors

_LOOK_S = 0.5


class RolloutFailed(errors.PermanentError):
    """A revision does not come to serve."""


class Progress(NamedTuple):
    """How far a rollout is, in one sentence, and whether it is done."""

    message: str
    is_done: bool


@contextlib.asynccontextmanager
async def connected(kubeconfig: str | None) -> AsyncIterator[api.Api]:
    """A connection for the length of a `with` block."""
    connection = await api.Api.connect(kubeconfig)
    try:
        yield connection
    finally:
        await connection.close()


async def environments(connection: api.Api, namespace: str) -> list[model.Environment]:
    """A team's environments, by name."""
    documents, _ = await connection.list(api.ENVIRONMENTS, namespace)
    return sorted(map(model.environment, documents), key=lambda each: each.name)


async def environment(connection: api.Api, namespace: str, scenario: str) -> model.Environment:
    """The environment of a scenario.

    Raises:
        PermanentError: There is none.
    """
    try:
        return model.environment(await connection.get(api.ENVIRONMENTS, namespace, names.environment(scenario)))
    except api.ApiError as exc:
        if exc.is_not_found:
            raise errors.PermanentError(f"{namespace} has no environment of {scenario!r}") from exc
        raise


async def roll_back(connection: api.Api, namespace: str, scenario: str) -> model.Served:
    """Wants what served before again, as a new revision; returns it.

    Raises:
        PermanentError: Nothing served before.
    """
    found = await environment(connection, namespace, scenario)
    earlier = [each for each in found.status.history if each != found.wanted]
    if not earlier:
        raise errors.PermanentError(f"{scenario}: nothing else served before; there is nothing to go back to")
    await connection.merge(api.ENVIRONMENTS, namespace, found.name, {"spec": earlier[0].spec()})
    return earlier[0]


def check_newer(found: model.Environment, generation: int, bundle: str) -> None:
    """Sees that a bundle may follow the one that an environment wants; the same one may, on another base.

    Raises:
        PermanentError: It is older, or another of the same generation.
    """
    if generation > found.bundle_generation or (generation, bundle) == (found.bundle_generation, found.bundle_digest):
        return
    raise errors.PermanentError(
        f"{found.scenario}: the bundle is generation {generation}, and generation {found.bundle_generation} is on the "
        f"cluster already: give it a later `generation` in its scenario.json, at least {found.bundle_generation + 1}"
    )


async def check_rights(connection: api.Api, found: model.Environment) -> None:
    """Sees that an environment may be changed, before there is anything to change it to.

    Raises:
        PermanentError: It may not.
    """
    try:
        await connection.may_merge(api.ENVIRONMENTS, found.namespace, found.name)
    except api.ApiError as exc:
        if exc.is_forbidden:
            raise errors.PermanentError(f"{exc}; the role awm-edit of {found.namespace} permits it") from exc
        raise


async def want(connection: api.Api, namespace: str, scenario: str, wanted: model.Served) -> bool:
    """Wants a bundle, by one patch; whether that is a change.

    Raises:
        PermanentError: Somebody wants a later one meanwhile.
    """
    found = await environment(connection, namespace, scenario)
    check_newer(found, wanted.bundle_generation, wanted.bundle_digest)
    if wanted == found.wanted:
        return False
    await connection.merge(api.ENVIRONMENTS, namespace, found.name, {"spec": wanted.spec()})
    return True


async def rollout(connection: api.Api, namespace: str, scenario: str, *, patience_s: float) -> AsyncIterator[Progress]:
    """How a rollout goes on, until its newest revision serves and no other is left.

    Raises:
        RolloutFailed: It does not start, or does not end in time.
    """
    said = None
    with _limited(scenario, patience_s):
        async with asyncio.timeout(patience_s):
            while True:
                progress = _progress(await environment(connection, namespace, scenario))
                if progress != said:
                    said = progress
                    yield progress
                if progress.is_done:
                    return
                await asyncio.sleep(_LOOK_S)


@contextlib.contextmanager
def _limited(scenario: str, patience_s: float) -> Iterator[None]:
    try:
        yield
    except TimeoutError as exc:
        raise RolloutFailed(f"{scenario}: not rolled out in {patience_s:g} s; `awm fleet describe` says more") from exc


def _progress(found: model.Environment) -> Progress:
    """How far an environment's newest revision is.

    Raises:
        RolloutFailed: It serves other tools than it says.
    """
    status = found.status
    if status.observed_generation != found.generation:
        return Progress("the controller has not looked at the change yet", False)
    if found.replicas == 0:
        return Progress(f"asleep; generation {found.bundle_generation} is what wakes", True)
    verified = status.condition("Verified")
    if verified is not None and verified.reason == "WrongTools":
        raise RolloutFailed(f"{found.name}: {verified.message}")
    if status.serving != status.revision_hash:
        available = status.condition("Available")
        return Progress(f"revision {status.revision} starts: {available.message if available else 'accepted'}", False)
    if status.draining_since is not None:
        return Progress(f"revision {status.revision} serves; the one before is drained", False)
    return Progress(f"revision {status.revision} serves generation {found.bundle_generation}", True)
