"""Finds the images that nobody needs any more: neither a catalogue, nor a rollback to an earlier generation."""

import contextlib
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from awm_generator.images import assembly, engines, errors, inspection, layouts, model, references, registries, sources

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Entry:
    """An image of a scenario at a place.

    Attributes:
        name: What it is called there.
        digest: Its digest there.
        slug: The scenario's slug.
        generation: The scenario's generation.
        bundle: The digest of its bundle.
    """

    name: str
    digest: str
    slug: str
    generation: int
    bundle: str


def needed_by(files: Iterable[Path]) -> frozenset[str]:
    """Every digest that stands in some files: catalogues, values of a chart, lists."""
    found: set[str] = set()
    for file in files:
        try:
            found.update(_DIGEST.findall(file.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError) as exc:
            raise errors.ImageError(f"{file} cannot be read: {exc}") from exc
    return frozenset(found)


def unneeded(entries: Iterable[Entry], needed: Collection[str], *, keep: int) -> list[Entry]:
    """Those that are not among the newest of their scenario, and of which neither digest is needed.

    Args:
        entries: What is there.
        needed: Digests that must stay, of images or of the bundles in them: a catalogue names its bundles.
        keep: How many generations of each scenario stay, the newest first.
    """
    by_scenario: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_scenario[entry.slug].append(entry)
    old: list[Entry] = []
    for of_scenario in by_scenario.values():
        kept = sorted({entry.generation for entry in of_scenario}, reverse=True)[:keep]
        stay = {entry.digest for entry in of_scenario if entry.generation in kept} | set(needed)
        old += [entry for entry in of_scenario if stay.isdisjoint((entry.digest, entry.bundle))]
    return sorted(old, key=lambda entry: (entry.slug, entry.generation))


class Place(Protocol):
    """A place whose images can be listed and removed."""

    def entries(self) -> list[Entry]:
        """The scenarios' images that are there."""
        ...

    def remove(self, entries: Collection[Entry]) -> None:
        """Removes some."""
        ...


@contextlib.contextmanager
def opened(reference: references.Reference, access: sources.Access) -> Iterator[Place]:
    """The place that a reference means.

    Raises:
        ImageError: Nothing can be removed there: an archive is written anew instead.
    """
    if reference.kind == "oci":
        yield _LayoutPlace(layouts.Layout(Path(reference.place)))
    elif reference.kind == "docker":
        with contextlib.closing(engines.Engine()) as engine:
            yield _EnginePlace(engine)
    elif reference.kind == "registry":
        with access.registry(reference.host) as registry:
            yield _RegistryPlace(registry, reference.repository)
    else:
        raise errors.ImageError(f"{reference}: an archive is not pruned; build it anew with the bundles that it needs")


class _LayoutPlace:
    def __init__(self, layout: layouts.Layout) -> None:
        self._layout = layout

    def entries(self) -> list[Entry]:
        found = ((name, self._layout.read(name)) for name in self._layout.names())
        return list(_entries(found))

    def remove(self, entries: Collection[Entry]) -> None:
        self._layout.remove({entry.name for entry in entries})


class _EnginePlace:
    def __init__(self, engine: engines.Engine) -> None:
        self._engine = engine

    def entries(self) -> list[Entry]:
        return [
            entry
            for name, (id, labels) in self._engine.known(assembly.SCENARIO).items()
            if (entry := _entry(name, id, labels))
        ]

    def remove(self, entries: Collection[Entry]) -> None:
        for entry in entries:
            self._engine.remove(entry.name)


class _RegistryPlace:
    def __init__(self, registry: registries.Registry, prefix: str) -> None:
        self._registry = registry
        self._prefix = prefix

    def entries(self) -> list[Entry]:
        found = (
            (f"{repository}:{tag}", self._registry.read(repository, tag))
            for repository in self._registry.repositories(self._prefix)
            for tag in self._registry.tags(repository)
        )
        return list(_entries(found))

    def remove(self, entries: Collection[Entry]) -> None:
        for entry in entries:
            self._registry.delete(entry.name.rpartition(":")[0], entry.digest)


def _entries(images: Iterable[tuple[str, model.Image]]) -> Iterator[Entry]:
    for name, image in images:
        if entry := _entry(name, image.digest, image.labels):
            yield entry


def _entry(name: str, digest: str, labels: Mapping[str, str]) -> Entry | None:
    described = inspection.name_of(labels)
    return Entry(name, digest, *described, labels.get(assembly.BUNDLE, "")) if described else None
