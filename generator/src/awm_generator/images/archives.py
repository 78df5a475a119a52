"""Archives: one tar file with any number of images, both as `docker load` reads it and as an OCI layout."""

import io
import posixpath
import tarfile
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from awm_generator.images import compression, errors, layouts, model

_CHUNK = 1 << 20
_GZIP = b"\x1f\x8b"
_PART = ".part-"


def write(path: Path, images: Iterable[tuple[str, model.Image]]) -> Generator[str, None, None]:
    """Writes an archive in place of the one that is there, when all images are in it; gives each name once it is.

    Args:
        path: The file.
        images: Names as `docker load` is to give them, and images for one platform.
    """
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f"{_PART}{path.name}-", delete=False) as file:
        try:
            yield from stream(file, images)
            file.flush()
            Path(file.name).chmod(0o644)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def stream(file: IO[bytes], images: Iterable[tuple[str, model.Image]]) -> Generator[str, None, None]:
    """Writes an archive as it goes; a blob that several images share is in it once."""
    written: set[str] = set()
    added: dict[str, model.Image] = {}
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.USTAR_FORMAT) as archive:
        for name, image in images:
            for blob in (*image.blobs, *image.documents):
                if blob.digest not in written:
                    _add(archive, f"blobs/sha256/{blob.digest.removeprefix('sha256:')}", blob.content())
                    written.add(blob.digest)
            added[name] = image
            yield name
        _add(archive, "index.json", layouts.index_document(added))
        _add(archive, "manifest.json", _manifest(added))
        _add(archive, "oci-layout", layouts.marker_document())


def read(path: Path, name: str | None = None) -> model.Image:
    """An image of an archive: the one called `name`, or the only one. Layers that are not compressed get compressed.

    Raises:
        ImageError: The file is no archive of images, is corrupt, or has no such image.
    """
    try:
        return _Archive(path).image(name)
    except FileNotFoundError as exc:
        raise errors.ImageError(f"{path}: no such file") from exc
    except (tarfile.TarError, EOFError) as exc:
        raise errors.ImageError(f"{path} is no archive of images, or it is corrupt: {exc}") from exc


class _Archive:
    """A tar file's members, by where they are in the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with tarfile.open(path, "r:") as archive:
            members = archive.getmembers()
        links = {each.name: each.linkname for each in members if each.issym()}
        self._places = {each.name: (each.offset_data, each.size) for each in members if each.isreg()}
        size = path.stat().st_size
        for member, (offset, length) in self._places.items():
            if offset + length > size:
                raise errors.ImageError(f"{path} is corrupt: it ends within {member}")
        for link, target in links.items():  # an engine writes a layer that images share once
            found = posixpath.normpath(posixpath.join(posixpath.dirname(link), target))
            if found in self._places:
                self._places[link] = self._places[found]

    def image(self, name: str | None) -> model.Image:
        if "index.json" in self._places and (found := self._layout(name)):
            return found
        if "manifest.json" in self._places:
            return self._docker(name)
        if "index.json" in self._places:
            raise errors.ImageError(f"{self._path} holds no or several such images; name one as archive:FILE:NAME")
        raise errors.ImageError(f"{self._path} is no archive of images: it has neither manifest.json nor index.json")

    def _docker(self, name: str | None) -> model.Image:
        listed = b'{"images":' + self._content("manifest.json") + b"}"  # a list, and JSON of ours is an object
        entries = model.parse(listed, f"{self._path}: manifest.json")["images"]
        entry = self._chosen(entries, name)
        config = self._content(entry["Config"])
        layers = tuple(self._layer(each) for each in entry["Layers"])
        values = model.parse(config, f"{self._path}: {entry['Config']}")
        return model.Image((model.Manifest(values, layers),))

    def _chosen(self, entries: list[dict[str, Any]], name: str | None) -> dict[str, Any]:
        chosen = [each for each in entries if name is None or name in (each.get("RepoTags") or ())]
        if len(chosen) == 1:
            return chosen[0]
        known = ", ".join(tag for each in entries for tag in each.get("RepoTags") or ())[:200]
        what = "several images; name one as archive:FILE:NAME" if chosen else f"no image {name}"
        raise errors.ImageError(f"{self._path} holds {what} (it has {known or 'nothing with a name'})")

    def _layout(self, name: str | None) -> model.Image | None:
        """The image as the layout has it, with its digest; None where it is not to be had so, or not compressed."""
        entries = model.parse(self._content("index.json"), f"{self._path}: index.json").get("manifests") or []
        chosen = [
            each for each in entries if name is None or name == (each.get("annotations") or {}).get(layouts.REF_NAME)
        ]
        if len(chosen) != 1:
            return None
        found = model.resolve(self._blob(chosen[0]["mediaType"], chosen[0]["digest"], chosen[0]["size"]), self._blob)
        compressed = all("gzip" in layer.media_type for each in found.manifests for layer in each.layers)
        return found if compressed else None

    def _blob(self, media_type: str, digest: str, size: int) -> model.Blob:
        member = f"blobs/sha256/{digest.removeprefix('sha256:')}"
        if self._places.get(member, (0, -1))[1] != size:
            raise errors.ImageError(f"{self._path} lacks the blob {digest}, or it is cut short")
        return model.Blob(media_type, digest, size, lambda: self._read(member))

    def _layer(self, member: str) -> model.Blob:
        content = self._content(member)
        return model.Blob.of(content if content.startswith(_GZIP) else compression.compress(content), model.LAYER)

    def _content(self, member: str) -> bytes:
        return b"".join(self._read(member))

    def _read(self, member: str) -> Iterator[bytes]:
        if member not in self._places:
            raise errors.ImageError(f"{self._path} is no whole archive: {member} is missing")
        offset, left = self._places[member]
        with self._path.open("rb") as file:
            file.seek(offset)
            while left and (chunk := file.read(min(left, _CHUNK))):
                left -= len(chunk)
                yield chunk


def _manifest(images: Mapping[str, model.Image]) -> bytes:
    """What `docker load` reads."""
    entries = [
        {
            "Config": _path(image.manifests[0].config_blob),
            "RepoTags": [name],
            "Layers": [_path(layer) for layer in image.manifests[0].layers],
        }
        for name, image in images.items()
    ]
    return model.canonical({"images": entries})[len('{"images":') : -1]


def _path(blob: model.Blob) -> str:
    return f"blobs/sha256/{blob.digest.removeprefix('sha256:')}"


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
