"""OCI image layouts: folders of blobs by digest, under an index of named images. All images of a folder share blobs."""

import contextlib
import fcntl
import json
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from awm_generator.images import errors, model

REF_NAME = "org.opencontainers.image.ref.name"
_MARKER = {"imageLayoutVersion": "1.0.0"}
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CHUNK = 1 << 20


class Layout:
    """A folder of images. Writers take turns; a reader sees an image whole or not at all.

    Args:
        folder: The folder; it is made by the first `add`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index = folder / "index.json"

    def names(self) -> dict[str, str]:
        """The digests of the named images."""
        return {name: entry["digest"] for entry in self._entries() if (name := _name(entry)) and isinstance(name, str)}

    def read(self, name: str | None = None) -> model.Image:
        """The image called `name`, or the only one.

        Raises:
            ImageError: There is none of that name, several without one, or it is broken.
        """
        entries = self._entries()
        chosen = [entry for entry in entries if name is None or name in (_name(entry), entry.get("digest"))]
        if len(chosen) != 1:
            known = ", ".join(sorted(str(_name(entry)) for entry in entries)[:10]) or "nothing"
            what = "several images; name one as oci:DIR:NAME" if chosen else f"no image {name or ''}".rstrip()
            raise errors.ImageError(f"{self._folder} holds {what} (it has {known})")
        return model.resolve(self._blob(*_fields(chosen[0])), self._blob)

    def add(self, image: model.Image, name: str) -> bool:
        """Writes one image. Returns whether anything was new."""
        with self.writing() as writer:
            return writer.add(image, name)

    @contextlib.contextmanager
    def writing(self) -> Iterator["Writer"]:
        """Writes any number of images; the index is written at the end, also when the end is an error or Ctrl-C."""
        with self._locked():
            self._prepare()
            writer = Writer(self._folder, {_name(entry) or entry["digest"]: entry for entry in self._entries()})
            try:
                yield writer
            finally:
                if writer.changed:
                    _write(self._index, _index(writer.entries))

    def remove(self, names: Collection[str]) -> int:
        """Removes images by name, and the blobs that no other image needs. Returns the bytes that are freed."""
        with self._locked():
            entries = {_name(each) or each["digest"]: each for each in self._entries() if _name(each) not in names}
            needed = {digest for entry in entries.values() for digest in self._reached(entry)}
            _write(self._index, _index(entries))
            freed = 0
            for path in (self._folder / "blobs" / "sha256").iterdir():
                if f"sha256:{path.name}" not in needed:
                    freed += path.stat().st_size
                    path.unlink()
            return freed

    def _reached(self, entry: Mapping[str, Any]) -> Iterator[str]:
        image = model.resolve(self._blob(*_fields(entry)), self._blob)
        yield from (blob.digest for blob in (image.root, *image.documents, *image.blobs))

    def _entries(self) -> list[dict[str, Any]]:
        if not self._index.exists():
            return []
        document = model.parse(self._index.read_bytes(), str(self._index))
        entries = document.get("manifests")
        if not isinstance(entries, list):
            raise errors.ImageError(f"{self._index} has no list of manifests")
        return [entry for entry in entries if isinstance(entry, dict)]

    def _blob(self, media_type: str, digest: str, size: int) -> model.Blob:
        path = blob_path(self._folder, digest)
        try:
            found = path.stat().st_size
        except OSError as exc:
            raise errors.ImageError(f"{self._folder} lacks the blob {digest}") from exc
        if found != size:
            raise errors.ImageError(f"{path} is corrupt: it has {found} bytes, and {size} are wanted")
        return model.Blob(media_type, digest, size, lambda: _read(path))

    def _prepare(self) -> None:
        foreign = self._folder.is_dir() and any(self._folder.iterdir()) and not (self._folder / "oci-layout").exists()
        if foreign and {path.name for path in self._folder.iterdir()} != {".lock"}:
            raise errors.ImageError(f"{self._folder} exists and is no OCI layout; give another folder")
        (self._folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        if not (self._folder / "oci-layout").exists():
            _write(self._folder / "oci-layout", model.canonical(_MARKER))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class Writer:
    """Adds images to a layout.

    Attributes:
        entries: The index's entries by name.
        changed: Whether the index has to be written.
    """

    def __init__(self, folder: Path, entries: dict[str, dict[str, Any]]) -> None:
        self._folder = folder
        self._present = {path.name for path in (folder / "blobs" / "sha256").iterdir()}
        self.entries = entries
        self.changed = not (folder / "index.json").exists()

    def add(self, image: model.Image, name: str) -> bool:
        """Writes what is not there yet. Returns whether the name meant another image before."""
        for blob in (*image.blobs, *image.documents):
            if blob.digest.removeprefix("sha256:") not in self._present:
                _store(blob, blob_path(self._folder, blob.digest))
                self._present.add(blob.digest.removeprefix("sha256:"))
        entry = _entry(image, name)
        if self.entries.get(name) == entry:
            return False
        self.entries[name] = entry
        self.changed = True
        return True


def index_document(images: Mapping[str, model.Image]) -> bytes:
    """The index of a layout with these images, by name."""
    return _index({name: _entry(image, name) for name, image in images.items()})


def marker_document() -> bytes:
    """What the file `oci-layout` says."""
    return model.canonical(_MARKER)


def blob_path(folder: Path, digest: str) -> Path:
    """Where a blob is in a layout.

    Raises:
        ImageError: The digest is none.
    """
    if not _DIGEST.fullmatch(digest):
        raise errors.ImageError(f"{digest!r} is no digest: sha256 and 64 hex digits are expected")
    return folder / "blobs" / "sha256" / digest.removeprefix("sha256:")


def _entry(image: model.Image, name: str) -> dict[str, Any]:
    """How the index speaks of an image."""
    return {**image.root.descriptor(), "annotations": {REF_NAME: name}}


def _name(entry: Mapping[str, Any]) -> str | None:
    name = (entry.get("annotations") or {}).get(REF_NAME)
    return name if isinstance(name, str) else None


def _fields(entry: Mapping[str, Any]) -> tuple[str, str, int]:
    return str(entry.get("mediaType", "")), str(entry.get("digest", "")), int(entry.get("size", -1))


def _index(entries: Mapping[Any, dict[str, Any]]) -> bytes:
    ordered = sorted(entries.values(), key=lambda entry: (_name(entry) or "", str(entry.get("digest"))))
    return json.dumps({"schemaVersion": 2, "mediaType": model.INDEX, "manifests": ordered}, indent=1).encode()


def _store(blob: model.Blob, path: Path) -> None:
    with _replacing(path) as file:
        for chunk in blob.chunks():
            file.write(chunk)


def _write(path: Path, content: bytes) -> None:
    with _replacing(path) as file:
        file.write(content)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Any]:
    """A file that gets its name when it is complete, and is gone when it never is."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".part-", delete=False) as file:
        try:
            yield file
            file.flush()
            Path(file.name).chmod(0o644)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
