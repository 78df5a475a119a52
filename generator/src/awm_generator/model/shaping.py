"""JSON out of any endpoint: by schema where it can, by JSON mode or in words where not. What it can is learned once."""

import dataclasses
import json
import re
from collections.abc import Sequence

from awm_generator import errors
from awm_generator.model import language

_NEXT: dict[language.Form, language.Form] = {"schema": "json", "json": "text"}
_FENCE = re.compile(r"```[\w.+-]*[ \t]*\r?\n(?P<inside>.*?)(?:\r?\n)?```", re.DOTALL)


class Shaped:
    """Asks for JSON in the best way that the endpoint has.

    Args:
        model: The model to ask.

    Attributes:
        form: The way that is used now.
    """

    def __init__(self, model: language.LanguageModel) -> None:
        self.name, self.embedding_name = model.name, model.embedding_name
        self.form: language.Form = "schema"
        self._model = model

    async def complete(self, request: language.Request) -> language.Reply:
        """See `LanguageModel`; where a shape is asked for, the reply's text is the JSON alone."""
        if request.shape is None:
            return await self._model.complete(request)
        while True:
            form = self.form
            try:
                reply = await self._model.complete(_asked(request, form))
            except errors.FormUnsupported:
                if form == "text":
                    raise
                if self.form == form:  # another request may have learned it meanwhile
                    self.form = _NEXT[form]
                continue
            return dataclasses.replace(reply, text=json_in(reply.text))

    async def embed(self, texts: Sequence[str]) -> language.Embedded:
        """See `LanguageModel`."""
        return await self._model.embed(texts)


def fenced(text: str) -> str | None:
    """The longest fenced block in a text, or None where there is none; an unfinished one at the end counts."""
    blocks = [match["inside"] for match in _FENCE.finditer(text)]
    if not blocks and (opened := re.search(r"```[\w.+-]*[ \t]*\r?\n(?P<inside>.*)\Z", text, re.DOTALL)):
        return opened["inside"]
    return max(blocks, key=len, default=None)


def json_in(text: str) -> str:
    """The JSON of a reply that may have a fence or some words around it."""
    stripped = text.strip()
    if stripped.startswith(("{", "[")):
        return stripped
    block = fenced(stripped)
    if block is not None:
        return block.strip()
    start, end = stripped.find("{"), stripped.rfind("}")
    return stripped[start : end + 1] if 0 <= start < end else stripped


def _asked(request: language.Request, form: language.Form) -> language.Request:
    if form == "schema":
        return dataclasses.replace(request, form=form)
    assert request.shape is not None
    where = "" if form == "json" else " in a block fenced with ```json"
    schema = json.dumps(request.shape.schema, ensure_ascii=False, sort_keys=True)
    told = f"Answer with one JSON object{where}, and nothing else. It has to fit this JSON Schema:\n{schema}"
    first, *others = request.messages
    return dataclasses.replace(
        request, form=form, messages=(language.Message(first.role, f"{first.content}\n\n{told}"), *others)
    )
