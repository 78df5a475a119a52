"""The seam to language models: what is asked, what is answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Role = Literal["system", "user", "assistant"]
Form = Literal["schema", "json", "text"]
"""How JSON is asked for: by its schema, by the endpoint's JSON mode, or in words only."""

Finish = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Shape:
    """The JSON that a reply has to be.

    Attributes:
        name: What endpoints call it.
        schema: JSON Schema.
        strict: Whether endpoints can hold a model to it: every property required, none beside them.
    """

    name: str
    schema: Mapping[str, Any]
    strict: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a model is asked.

    Attributes:
        messages: The conversation so far.
        shape: The JSON that the reply has to be; None for text.
        form: How that is asked for.
        temperature: None for the endpoint's own.
        salt: Tells requests apart that are otherwise the same but must not have the same reply.
        stage: What it is for, and whose; for the ledger.
        scenario: See `stage`.
    """

    messages: tuple[Message, ...]
    shape: Shape | None = None
    form: Form = "schema"
    temperature: float | None = None
    salt: str = ""
    stage: str = ""
    scenario: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a reply took."""

    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What a model answered.

    Attributes:
        text: The answer.
        finish: `length` where it was cut off.
        usage: What it took.
    """

    text: str
    finish: Finish = "stop"
    usage: Usage = Usage()


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedded:
    """Texts as vectors of unit length, in their order."""

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage = Usage()


class LanguageModel(Protocol):
    """A language model, with a model for embeddings beside it."""

    @property
    def name(self) -> str:
        """What the endpoint calls the model."""
        ...

    @property
    def embedding_name(self) -> str:
        """What the endpoint calls the model for embeddings."""
        ...

    async def complete(self, request: Request) -> Reply:
        """Answers one request.

        Raises:
            ModelUnavailable: no reply came.
            ModelRefused: the endpoint refuses every such request.
            RequestRefused: the endpoint refuses this one.
        """
        ...

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """The vectors of some texts.

        Raises:
            ModelUnavailable: no reply came.
            ModelRefused: the endpoint refuses, or has no embeddings.
            RequestRefused: the endpoint refuses these texts.
        """
        ...
