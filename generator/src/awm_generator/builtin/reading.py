"""Reads blueprint and module files: YAML whose every complaint names file, line and field."""

import difflib
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import yaml

from awm_generator.builtin import errors, language

_Model = TypeVar("_Model", bound=pydantic.BaseModel)
Path_ = tuple[str | int, ...]


class Document:
    """A parsed file that remembers the line of each of its fields."""

    def __init__(self, file: Path, data: Any, lines: Mapping[Path_, int], names: Mapping[Path_, Path_]) -> None:
        self.file = file
        self.data = data
        self._lines = lines
        self._names = names

    def place(self, *path: str | int) -> errors.Place:
        """Where the field at `path` stands, named as the file names it; of a missing field, where its parent does."""
        known = path
        while known and known not in self._lines:
            known = known[:-1]
        named = (*self._names.get(known, known), *path[len(known) :])
        return errors.Place(self.file, self._lines.get(known, 1), ".".join(map(str, named)) or "the whole file")

    def place_of(self, text: str) -> errors.Place | None:
        """Where the first field stands that has this text in it."""
        return next((self.place(*path) for path in self._lines if text in _as_text(self._at(path))), None)

    def filled(self, fill: Callable[[str], str]) -> "Document":
        """The document with every text in it, keys too, put through `fill`."""
        names = {tuple(fill(part) if isinstance(part, str) else part for part in path): path for path in self._lines}
        lines = {path: self._lines[name] for path, name in names.items()}
        return Document(self.file, _filled(self.data, fill), lines, names)

    def _at(self, path: Path_) -> Any:
        found = self.data
        for part in path:
            found = found[part]
        return found


def _as_text(data: Any) -> str:
    return data if isinstance(data, str) else ""


def _filled(data: Any, fill: Callable[[str], str]) -> Any:
    if isinstance(data, str):
        return fill(data)
    if isinstance(data, dict):
        return {_filled(key, fill): _filled(value, fill) for key, value in data.items()}
    return [_filled(each, fill) for each in data] if isinstance(data, list) else data


class _Loader(yaml.SafeLoader):
    """YAML in which only `true` and `false` are flags, so that `on`, `no` and `yes` stay words."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))


def parse(file: Path) -> Document:
    """The content of a YAML file, with lines.

    Raises:
        BlueprintError: it cannot be read, is no YAML, or names a field twice.
    """
    try:
        text = file.read_text("utf-8")
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            lines = dict(_lines(file, node, ()))
            data = loader.construct_document(node) if node is not None else None
        finally:
            loader.dispose()
    except OSError as exc:
        raise errors.BlueprintError(errors.Place(file, 1, "the file"), f"cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise errors.BlueprintError(errors.Place(file, 1, "the file"), "is not UTF-8 text") from exc
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark else 1
        raise errors.BlueprintError(errors.Place(file, line, "YAML"), str(exc.problem)) from exc
    return Document(file, data, lines, {})


def _lines(file: Path, node: yaml.Node | None, path: Path_) -> Iterator[tuple[Path_, int]]:
    if node is None:
        return
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                place = errors.Place(file, key.start_mark.line + 1, ".".join(map(str, (*path, key.value))))
                raise errors.BlueprintError(place, "stands twice; the first one would be lost")
            seen.add(key.value)
            for at, line in _lines(file, value, (*path, key.value)):
                yield at, key.start_mark.line + 1 if at == (*path, key.value) else line
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _lines(file, value, (*path, number))


def validated(kind: type[_Model], document: Document) -> _Model:
    """The document's data as a model.

    Raises:
        BlueprintError: a field is unknown, missing or of the wrong form; the nearest known field is offered.
    """
    try:
        return kind.model_validate(document.data)
    except pydantic.ValidationError as exc:
        first = min(exc.errors(include_url=False), key=lambda error: error["type"] != "extra_forbidden")
        path = tuple(part for part in first["loc"] if part != "[key]")
        message = str(first["msg"]).removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = f"unknown field{_offer(str(path[-1]), kind, path)}"
        raise errors.BlueprintError(document.place(*path), message) from exc


def _offer(name: str, kind: type[pydantic.BaseModel], path: Path_) -> str:
    models: list[type[pydantic.BaseModel]] = [
        language.Blueprint, language.Module, language.Entity, language.Field, language.Action, language.Rule,
        language.Creation, language.States, language.Selection, language.Question,
    ]  # fmt: skip
    by_depth: dict[int, list[type[pydantic.BaseModel]]] = {
        1: [kind],
        3: [language.Entity],
        5: [language.Field, language.Action],
    }
    fitting = by_depth.get(len(path), models)
    known = sorted({field.alias or key for model in fitting for key, field in model.model_fields.items()})
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(known)}"


def blueprint(file: Path) -> tuple[language.Blueprint, Document]:
    """A blueprint and its document.

    Raises:
        BlueprintError: it is not a well-formed blueprint.
    """
    document = parse(file)
    return validated(language.Blueprint, document), document


@functools.cache
def module(file: Path) -> Document:
    """A module's document; it becomes a model when its slots are filled."""
    return parse(file)


def shipped_blueprints() -> dict[str, Path]:
    """The blueprints that come with the package, by name."""
    return _files("blueprints")


def shipped_modules() -> dict[str, Path]:
    """The modules that come with the package, by name."""
    return _files("modules")


@functools.cache
def _files(folder: str) -> dict[str, Path]:
    root = Path(str(resources.files("awm_generator.builtin").joinpath(folder)))
    return {path.stem: path for path in sorted(root.glob("*.yaml"))}
