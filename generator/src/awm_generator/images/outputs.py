"""Where assembled images go, behind one protocol: a layout, an archive, the Docker engine, an image registry."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from awm_generator.images import archives, assembly, engines, errors, layouts, model, references, registries, sources
from awm_runtime import names

PREFIX = "awm"
BATCH = 100
"""As many images go to an engine in one request, over a base that is sent once."""

State = Literal["written", "unchanged"]
Item = tuple[str, int, model.Image]
"""A scenario, its generation, its image."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An image at its place.

    Attributes:
        reference: What to call it there.
        digest: The image's digest.
        state: Whether it was there already.
    """

    reference: str
    digest: str
    state: State


class Output(Protocol):
    """A place that takes images. Several threads may `put` where `parallel` is more than 1."""

    parallel: int

    def put(self, batch: Sequence[Item]) -> list[Stored]:
        """Stores images, in the order given."""
        ...


@contextlib.contextmanager
def opened(
    reference: references.Reference, access: sources.Access, *, single_repository: bool = False, parallel: int = 8
) -> Iterator[Output]:
    """The place that a reference means, for the length of a `with` block; at its end all is stored."""
    if reference.kind == "oci":
        with layouts.Layout(Path(reference.place)).writing() as writer:
            yield _ToLayout(writer, reference)
    elif reference.kind == "archive":
        with _ToArchive(Path(reference.place)) as archive:
            yield archive
    elif reference.kind == "docker":
        with contextlib.closing(engines.Engine()) as engine:
            yield _ToEngine(engine, reference.place or PREFIX)
    else:
        if reference.name is not None:
            raise errors.ImageError(f"{reference}: leave out the tag; each image gets its generation as its tag")
        with access.registry(reference.host) as registry:
            yield _ToRegistry(registry, reference.repository, single=single_repository, parallel=parallel)


class _ToLayout:
    parallel = 1

    def __init__(self, writer: layouts.Writer, reference: references.Reference) -> None:
        self._writer = writer
        self._reference = reference

    def put(self, batch: Sequence[Item]) -> list[Stored]:
        return [self._put(scenario, generation, image) for scenario, generation, image in batch]

    def _put(self, scenario: str, generation: int, image: model.Image) -> Stored:
        name = f"{names.slug(scenario)}:{generation}"
        changed = self._writer.add(image, name)
        return Stored(str(self._reference.named(name)), image.digest, "written" if changed else "unchanged")


class _ToArchive:
    """Images are handed to the writer of the archive as they come: it asks for the next one when it has written one."""

    parallel = 1

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next: list[tuple[str, model.Image]] = []
        self._writing = archives.write(path, self._handed_over())

    def __enter__(self) -> "_ToArchive":
        if not self._path.parent.is_dir():
            raise errors.ImageError(f"{self._path}: there is no folder {self._path.parent}")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            for _name in self._writing:
                raise AssertionError("nothing is left to be written")
        else:
            self._writing.close()

    def put(self, batch: Sequence[Item]) -> list[Stored]:
        stored = []
        for scenario, generation, image in batch:
            name = tagged(PREFIX, scenario, generation)
            self._next.append((name, image.for_platform(image.platforms[0])))
            next(self._writing)
            stored.append(Stored(f"archive:{self._path}:{name}", image.digest, "written"))
        return stored

    def _handed_over(self) -> Iterator[tuple[str, model.Image]]:
        while self._next:
            yield self._next.pop()


class _ToEngine:
    parallel = 1

    def __init__(self, engine: engines.Engine, prefix: str) -> None:
        self._engine = engine
        self._prefix = prefix
        self._platform = engine.platform()
        self._known = {name: id for name, (id, _) in engine.known(assembly.SCENARIO).items()}

    def put(self, batch: Sequence[Item]) -> list[Stored]:
        chosen = [
            (tagged(self._prefix, scenario, generation), self._fitting(image)) for scenario, generation, image in batch
        ]
        fresh = [(name, image) for name, image in chosen if not self._has(name, image)]
        if fresh:
            self._engine.load(fresh)
        written = {name for name, _ in fresh}
        return [
            Stored(f"docker:{name}", image.digest, "written" if name in written else "unchanged")
            for name, image in chosen
        ]

    def _fitting(self, image: model.Image) -> model.Image:
        try:
            return image.for_platform(self._platform)
        except errors.ImageError as exc:
            raise errors.ImageError(f"the base does not fit the Docker engine: {exc}") from exc

    def _has(self, name: str, image: model.Image) -> bool:
        return self._known.get(name) in (image.manifests[0].config_blob.digest, image.digest)


class _ToRegistry:
    def __init__(self, registry: registries.Registry, prefix: str, *, single: bool, parallel: int) -> None:
        self.parallel = parallel
        self._registry = registry
        self._prefix = prefix
        self._single = single
        self._known = threading.Lock()
        self._held: dict[str, str] = {}
        self._uploads: dict[str, threading.Lock] = {}

    def put(self, batch: Sequence[Item]) -> list[Stored]:
        return [self._put(scenario, generation, image) for scenario, generation, image in batch]

    def _put(self, scenario: str, generation: int, image: model.Image) -> Stored:
        slug = names.slug(scenario)
        repository = self._prefix if self._single else f"{self._prefix}/{slug}"
        tag = f"{slug}-{generation}" if self._single else str(generation)
        reference = f"registry:{self._registry.host}/{repository}@{image.digest}"
        if self._registry.digest(repository, tag) == image.digest:
            return Stored(reference, image.digest, "unchanged")
        for blob in image.blobs:
            self._give(repository, blob)
        for document in image.documents:
            named = tag if document.digest == image.digest else document.digest
            self._registry.put_manifest(repository, named, document)
        return Stored(reference, image.digest, "written")

    def _give(self, repository: str, blob: model.Blob) -> None:
        """Sees that a repository has a blob. One that images share is sent once: others wait for it, and mount it."""
        with self._known:
            turn = self._uploads.setdefault(blob.digest, threading.Lock())
        with turn:
            holder = self._held.get(blob.digest) or self._origin(blob)
            if holder == repository:
                return
            if holder is None and self._registry.has(repository, blob.digest):
                self._held[blob.digest] = repository
                return
            if holder is None:
                self._registry.upload(repository, blob)
                self._held[blob.digest] = repository
                return
        self._registry.upload(repository, blob, mount_from=holder)

    def _origin(self, blob: model.Blob) -> str | None:
        host, _, repository = (blob.origin or "").partition("/")
        return repository if host == self._registry.host else None


def tagged(prefix: str, scenario: str, generation: int) -> str:
    """What an image is called where there is no registry: `awm/rover:3`."""
    return f"{prefix}/{names.slug(scenario)}:{generation}"
