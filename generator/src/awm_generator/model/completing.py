"""Whole replies: a text that was cut off is continued, JSON that was cut off is asked for again."""

import dataclasses
from collections.abc import Sequence

from awm_generator.model import language

_MOST_PARTS = 6
_MOST_TRIES = 3
_OVERLAP = 400
_SHORTEST_OVERLAP = 20

_CONTINUE = (
    "Your reply was cut off. Go on exactly where it ended: repeat nothing, add no introduction, and open no new fence."
)
_AGAIN = (
    "Your reply was cut off before its end, so that it cannot be read. Answer once more, complete, and as briefly as "
    "the task allows."
)


class Completing:
    """Makes replies whole.

    Args:
        model: The model to ask.
    """

    def __init__(self, model: language.LanguageModel) -> None:
        self.name, self.embedding_name = model.name, model.embedding_name
        self._model = model

    async def complete(self, request: language.Request) -> language.Reply:
        """See `LanguageModel`; a reply that stays cut off is handed on as it is."""
        reply = await self._model.complete(request)
        if reply.finish == "stop":
            return reply
        if request.shape is None:
            return await self._continued(request, reply)
        for number in range(1, _MOST_TRIES):
            again = language.Message("user", f"{_AGAIN} (Try {number + 1}.)")
            reply = await self._model.complete(dataclasses.replace(request, messages=(*request.messages, again)))
            if reply.finish == "stop":
                break
        return reply

    async def embed(self, texts: Sequence[str]) -> language.Embedded:
        """See `LanguageModel`."""
        return await self._model.embed(texts)

    async def _continued(self, request: language.Request, reply: language.Reply) -> language.Reply:
        text, usage = reply.text, reply.usage
        for _ in range(_MOST_PARTS):
            if reply.finish == "stop":
                break
            going_on = (language.Message("assistant", text), language.Message("user", _CONTINUE))
            reply = await self._model.complete(dataclasses.replace(request, messages=(*request.messages, *going_on)))
            text = joined(text, reply.text)
            usage = language.Usage(
                usage.input_tokens + reply.usage.input_tokens, usage.output_tokens + reply.usage.output_tokens
            )
        return language.Reply(text=text, finish=reply.finish, usage=usage)


def joined(text: str, more: str) -> str:
    """`text` and how it goes on, without a fence opened anew and without what both have."""
    if text.count("```") % 2 and more.lstrip().startswith("```"):
        _, _, rest = more.lstrip().partition("\n")
        more = rest if rest.strip() else more
    for length in range(min(_OVERLAP, len(text), len(more)), _SHORTEST_OVERLAP - 1, -1):
        if text.endswith(more[:length]):
            return text + more[length:]
    return text + more
