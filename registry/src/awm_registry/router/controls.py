"""What a router asks of the control planes of instances, and what it makes of the answers."""

import contextlib
import functools
from collections.abc import Sequence
from typing import TypeVar

import pydantic

from awm_registry import directory
from awm_registry.router import activation, asking, authority, ids, requests, roster, wire
from awm_runtime.contract import episodes, problems

MOST_BYTES = 64 << 20
"""An answer that is read as a whole may be this long; 4,096 episodes take 4 MB."""

_Model = TypeVar("_Model", bound=pydantic.BaseModel)


class Controls:
    """The control planes of a fleet's instances.

    Args:
        ask: How they are asked.
        active: Where they are.
        known: How ids are read.
        tokens: What opens control planes that have no token of their own.
    """

    def __init__(
        self,
        ask: asking.Asking,
        active: activation.Activation,
        *,
        known: ids.EpisodeIds,
        tokens: authority.Authority,
    ) -> None:
        self.asking = ask
        self._tokens = tokens
        self._active = active
        self._ids = known

    def request(self, method: str, path: str, *, lines: bytes = b"", body: bytes = b"") -> asking.Request:
        """A request to whichever instance it is."""

        def made(instance: directory.Instance) -> tuple[str, bytes]:
            token = instance.control_token or self._tokens.instance_token(instance.id)
            return requests.control(instance, method, path, token=token, lines=lines, body=body)

        return made

    def held_at(self, id: str, instances: Sequence[directory.Instance]) -> directory.Instance | None:
        """The one of some instances that an episode with an id of this fleet is in, if any is."""
        return roster.at(instances, self._ids.placement(id))

    def holder_of(self, id: str) -> asking.Locate:
        """Finds the instance that holds an episode.

        Raises:
            ProblemError: `unknown_episode`: the id is none of this fleet's.
        """
        where = self._ids.placement(id)
        return functools.partial(self._active.holder, where)

    async def episode(
        self,
        method: str,
        id: str,
        *,
        action: str,
        kind: type[_Model],
        lines: bytes,
        body: bytes = b"",
        repeatable: bool,
    ) -> _Model:
        """Does something with an episode at its instance.

        Args:
            method: The HTTP method.
            id: The episode's id.
            action: The path behind the episode's, with its slash; empty for the episode itself.
            kind: What is answered.
            lines: Headers to send along.
            body: The request's body.
            repeatable: Whether doing it twice comes to the same as doing it once.

        Raises:
            ProblemError: What the instance refused it with; `episode_lost`; `internal`: it answered nonsense.
        """
        request = self.request(method, f"/v1/episodes/{id}{action}", lines=lines, body=body)
        async with self.asking.asked(self.holder_of(id), request, repeatable=repeatable) as answer:
            content = await self.checked(answer)
        return parsed(kind, content)

    async def interrupt(self, id: str) -> None:
        """Tells an episode's instance that a call of it got lost between the two, so that its verdict is masked."""
        with contextlib.suppress(problems.ProblemError):  # an episode that takes no calls any more
            await self.episode("POST", id, action="/interrupt", kind=episodes.EpisodeView, lines=b"", repeatable=True)

    async def open(
        self, instance: directory.Instance, locate: asking.Locate, wanted: episodes.OpenRequest, *, lines: bytes
    ) -> episodes.OpenResponse:
        """Opens episodes under given ids; asked again where that is needed, since ids open nothing twice.

        Raises:
            ProblemError: The instance does not answer, or not for what it was asked.
        """
        body = wanted.model_dump_json(by_alias=True, exclude_defaults=True).encode()
        request = self.request("POST", "/v1/episodes", lines=lines, body=body)
        async with self.asking.asked(locate, request, repeatable=True) as answer:
            opened = parsed(episodes.OpenResponse, await self.checked(answer))
        given = {id for item in wanted.episodes for id in item.ids or ()}
        strange = [each for each in opened.episodes if each.scenario != instance.scenario or each.id not in given]
        if strange or any(each.index >= len(wanted.episodes) for each in opened.rejected):
            raise problems.ProblemError(
                problems.Code.INTERNAL, f"an instance of {instance.scenario} answered for something else"
            )
        return opened

    async def listed(self, instance: directory.Instance, *, lines: bytes) -> Sequence[episodes.EpisodeView]:
        """The episodes of an instance.

        Raises:
            ProblemError: It does not answer.
        """

        async def here() -> directory.Instance:
            return instance

        async with self.asking.asked(here, self.request("GET", "/v1/episodes", lines=lines), repeatable=True) as answer:
            return parsed(_Listed, await self.checked(answer)).episodes

    async def checked(self, answer: wire.Answer) -> bytes:
        """The body of a good answer.

        Raises:
            ProblemError: The problem that the answer is.
        """
        content = await self.asking.whole(answer, limit=MOST_BYTES)
        if 200 <= answer.status < 300:
            return content
        raise _problem(answer.status, content)


class _Listed(pydantic.BaseModel):
    episodes: list[episodes.EpisodeView]


def parsed(kind: type[_Model], content: bytes) -> _Model:
    """What an instance's answer holds.

    Raises:
        ProblemError: `internal`: something else.
    """
    try:
        return kind.model_validate_json(content)
    except pydantic.ValidationError as exc:
        raise problems.ProblemError(problems.Code.INTERNAL, "the instance's answer makes no sense") from exc


def _problem(status: int, content: bytes) -> problems.ProblemError:
    """What an instance refused. An id that a router made and the instance does not know is lost."""
    try:
        said = problems.ProblemError.of(problems.Problem.model_validate_json(content))
    except pydantic.ValidationError:
        return problems.ProblemError(problems.Code.INTERNAL, f"the instance answered {status} without a reason")
    if said.code is problems.Code.UNKNOWN_EPISODE:
        return forgotten()
    if said.code is problems.Code.UNAUTHENTICATED:  # the router's token, not the caller's
        return problems.ProblemError(problems.Code.INTERNAL, "the instance does not accept this router's token")
    return said


def forgotten() -> problems.ProblemError:
    """The problem of an episode that its instance knows nothing of, though a router opened it there."""
    return problems.ProblemError(
        problems.Code.EPISODE_LOST,
        "its instance does not have the episode any more: its disk was lost, or its retention is over; open another",
    )
