"""A model in this process that answers from a function; for tests and trials."""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from awm_generator.model import language

_DIMENSIONS = 64


class ScriptedModel:
    """Answers with what `answer` returns, or raises what it raises.

    Args:
        answer: Takes a request; a text stands for a whole reply.
        name: The model's name.

    Attributes:
        requests: All that was asked, in order.
    """

    embedding_name = "scripted"

    def __init__(self, answer: Callable[[language.Request], str | language.Reply], *, name: str = "scripted") -> None:
        self.name = name
        self.requests: list[language.Request] = []
        self._answer = answer

    async def complete(self, request: language.Request) -> language.Reply:
        """See `LanguageModel`."""
        self.requests.append(request)
        answer = self._answer(request)
        if isinstance(answer, language.Reply):
            return answer
        asked = sum(len(message.content) for message in request.messages)
        return language.Reply(text=answer, usage=language.Usage(tokens(asked), tokens(len(answer))))

    async def embed(self, texts: Sequence[str]) -> language.Embedded:
        """See `LanguageModel`; the same text has the same vector, and different ones point elsewhere."""
        usage = language.Usage(sum(tokens(len(text)) for text in texts), 0)
        return language.Embedded(vectors=tuple(vector(text) for text in texts), usage=usage)


def tokens(characters: int) -> int:
    """About how many tokens a text of that length has."""
    return -(-characters // 4)


def vector(text: str) -> tuple[float, ...]:
    """A vector of unit length that depends on the text alone."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
    drawn = np.random.default_rng(seed).standard_normal(_DIMENSIONS)
    return tuple(map(float, drawn / np.linalg.norm(drawn)))
