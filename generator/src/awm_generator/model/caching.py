"""Replies kept by content: what was answered once is never asked again, in this run or a later one."""

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from awm_generator.model import language


class Cached:
    """Keeps each reply as a file whose name is the hash of model, conversation and parameters.

    Files appear whole or not at all. They hold replies and token counts: no keys, and no questions.

    Args:
        model: The model to ask.
        folder: Where the files go.
    """

    def __init__(self, model: language.LanguageModel, folder: Path) -> None:
        self.name, self.embedding_name = model.name, model.embedding_name
        self._model = model
        self._folder = folder

    async def complete(self, request: language.Request) -> language.Reply:
        """See `LanguageModel`."""
        path = self._path(_identity(self.name, request))
        kept = _read(path)
        if kept is not None:
            return language.Reply(text=kept["text"], finish=kept["finish"], usage=language.Usage(*kept["usage"]))
        reply = await self._model.complete(request)
        usage = (reply.usage.input_tokens, reply.usage.output_tokens)
        _write(path, {"text": reply.text, "finish": reply.finish, "usage": usage})
        return reply

    async def embed(self, texts: Sequence[str]) -> language.Embedded:
        """See `LanguageModel`; each text is kept on its own."""
        paths = [self._path(["embedding", self.embedding_name, text]) for text in texts]
        kept = [_read(path) for path in paths]
        missing = [text for text, value in zip(texts, kept, strict=True) if value is None]
        fresh = await self._model.embed(missing) if missing else language.Embedded(vectors=())
        arriving = iter(fresh.vectors)
        vectors = []
        for path, value in zip(paths, kept, strict=True):
            if value is None:
                vector = next(arriving)
                raw = np.asarray(vector, dtype=np.float32).tobytes()
                _write(path, {"vector": base64.b64encode(raw).decode()})
            else:
                vector = tuple(map(float, np.frombuffer(base64.b64decode(value["vector"]), dtype=np.float32)))
            vectors.append(vector)
        return language.Embedded(vectors=tuple(vectors), usage=fresh.usage)

    def _path(self, identity: object) -> Path:
        text = json.dumps(identity, sort_keys=True, ensure_ascii=False).encode(errors="surrogatepass")
        name = hashlib.sha256(text).hexdigest()
        return self._folder / name[:2] / f"{name[2:]}.json"


def _identity(model: str, request: language.Request) -> list[Any]:
    shape = request.shape
    return [
        model,
        [[message.role, message.content] for message in request.messages],
        [shape.name, dict(shape.schema), shape.strict, request.form] if shape else None,
        request.temperature,
        request.salt,
    ]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value: dict[str, Any] = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return value


def _write(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    try:
        unfinished.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8", errors="surrogatepass")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
