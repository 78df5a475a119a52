"""Models behind an HTTP API: OpenAI's, Azure's, and those of any server that speaks as these do."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
import openai

from awm_generator import errors
from awm_generator.model import endpoints, language

TIMEOUT_S = 900.0
"""A long reply of a thinking model takes minutes."""

_MOST_SHOWN = 600
_OVERLOADED = (429, 503)
_ONLY_THIS = frozenset({"content_filter", "context_length_exceeded", "string_above_max_length"})
"""Codes of a 400 that are about one request and no other."""


class OpenAIModel:
    """A model behind an endpoint; asks once and never tries again.

    Args:
        where: The endpoints and the names of the models.
        timeout_s: How long a reply is waited for.
    """

    def __init__(self, where: endpoints.Endpoints, *, timeout_s: float = TIMEOUT_S) -> None:
        self.name = where.model
        self.embedding_name = where.embedding_model
        self._secrets = (where.completions.key, where.embeddings.key)
        self._client = _client(where.completions, timeout_s)
        same = where.embeddings == where.completions
        self._embedder = self._client if same else _client(where.embeddings, timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._client.close()
        await self._embedder.close()

    async def complete(self, request: language.Request) -> language.Reply:
        """See `LanguageModel`."""
        options: dict[str, Any] = {"response_format": _response_format(request)} if request.shape else {}
        if request.temperature is not None:
            options["temperature"] = request.temperature
        messages = cast(Any, [{"role": each.role, "content": each.content} for each in request.messages])
        try:
            answer = await self._client.chat.completions.create(model=self.name, messages=messages, **options)
            choice, usage = answer.choices[0], answer.usage
            text, finish = choice.message.content or "", choice.finish_reason
        except openai.OpenAIError as exc:
            raise self._said(exc, request) from exc
        except (ValueError, LookupError, AttributeError, TypeError) as exc:  # a body that is no completion
            raise errors.ModelUnavailable(f"the endpoint's answer is no completion: {self._clean(str(exc))}") from exc
        if finish == "content_filter" or (not text and getattr(choice.message, "refusal", None)):
            raise errors.RequestRefused(f"the model refused: {self._clean(choice.message.refusal or 'filtered')}")
        return language.Reply(
            text=text,
            finish="length" if finish == "length" else "stop",
            usage=language.Usage(usage.prompt_tokens, usage.completion_tokens) if usage else language.Usage(),
        )

    async def embed(self, texts: Sequence[str]) -> language.Embedded:
        """See `LanguageModel`."""
        try:
            answer = await self._embedder.embeddings.create(
                model=self.embedding_name, input=list(texts), encoding_format="float"
            )
            found = [each.embedding for each in sorted(answer.data, key=lambda each: each.index)]
            vectors = np.asarray(found, dtype=np.float32)
        except openai.OpenAIError as exc:
            raise self._said(exc, None) from exc
        except (ValueError, LookupError, AttributeError, TypeError) as exc:
            raise errors.ModelUnavailable(f"the endpoint's answer is no embedding: {self._clean(str(exc))}") from exc
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit = vectors / np.where(lengths > 0, lengths, 1)
        tokens = answer.usage.prompt_tokens if answer.usage else 0
        return language.Embedded(
            vectors=tuple(tuple(map(float, vector)) for vector in unit), usage=language.Usage(tokens, 0)
        )

    def _said(self, exc: openai.OpenAIError, request: language.Request | None) -> Exception:
        """The error that the caller decides by, in the endpoint's own words."""
        if not isinstance(exc, openai.APIStatusError):
            what = "did not answer in time" if isinstance(exc, openai.APITimeoutError) else self._reason(exc)
            return errors.ModelUnavailable(f"{self._client.base_url}: {what}")
        words = f"{self._client.base_url} answered {exc.status_code}: {self._words(exc)}"
        if exc.code == "insufficient_quota":
            return errors.ModelRefused(words)
        if exc.status_code in (408, 409) or exc.status_code in _OVERLOADED or exc.status_code >= 500:
            return errors.ModelUnavailable(
                words, retry_after_s=_retry_after(exc), overloaded=exc.status_code in _OVERLOADED
            )
        if exc.status_code in (400, 422) and request is not None:
            if request.shape is not None and request.form != "text" and _is_about_the_form(exc):
                return errors.FormUnsupported(words)
            if exc.code in _ONLY_THIS:
                return errors.RequestRefused(words)
        return errors.ModelRefused(words)

    def _reason(self, exc: openai.OpenAIError) -> str:
        cause = exc.__cause__
        return self._clean(f"{exc}{f' ({cause})' if cause and str(cause) else ''}")

    def _words(self, exc: openai.APIStatusError) -> str:
        body = exc.body
        said = body.get("message") if isinstance(body, dict) else None
        return self._clean(str(said or exc.response.text or exc))

    def _clean(self, text: str) -> str:
        """`text` on one line, cut, and without a key that the endpoint repeated."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return " ".join(text.split())[:_MOST_SHOWN]


def _client(where: endpoints.Endpoint, timeout_s: float) -> openai.AsyncOpenAI:
    if where.azure:
        return openai.AsyncAzureOpenAI(
            azure_endpoint=where.url or "",
            api_key=where.key,
            api_version=where.api_version,
            max_retries=0,
            timeout=timeout_s,
        )
    return openai.AsyncOpenAI(api_key=where.key, base_url=where.url, max_retries=0, timeout=timeout_s)


def _response_format(request: language.Request) -> Any:
    shape = request.shape
    assert shape is not None
    if request.form == "schema":
        described = {"name": shape.name, "schema": dict(shape.schema), "strict": shape.strict}
        return {"type": "json_schema", "json_schema": described}
    return {"type": "json_object"} if request.form == "json" else openai.omit


def _is_about_the_form(exc: openai.APIStatusError) -> bool:
    said = f"{exc.param or ''} {exc.body}".lower()
    return any(word in said for word in ("response_format", "json_schema", "json_object", "structured output"))


def _retry_after(exc: openai.APIStatusError) -> float:
    headers = exc.response.headers
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[name]) * scale)
        except (KeyError, ValueError):
            continue
    return 0.0
