"""The one layer that a scenario adds: its bundle and its database, the same bytes for the same bundle everywhere."""

import io
import re
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from awm_generator.images import compression, errors, model, seeds
from awm_runtime.bundle import digest, reading
from awm_runtime.server import keeper

BUNDLE = "awm/bundle"
SEEDS = "awm/seeds"
"""Where the server of the base image looks for them."""

_MEMBER = re.compile(r"(?:\./)?(awm/(?:bundle/(?:verifiers/)?|seeds/)[A-Za-z0-9_][A-Za-z0-9_.-]*)")
_LARGEST = 1 << 30


@dataclass(frozen=True)
class ScenarioLayer:
    """A bundle as a layer, and what its image says of it.

    Attributes:
        content: The compressed layer.
        diff_id: The digest of the layer before it was compressed.
        scenario: The scenario's name.
        generation: Its generation.
        title: For people.
        description: For people.
        license: As SPDX writes it.
        bundle: The bundle's digest.
        tools: The digest of its tool list.
        seed: The hash of its database's logical dump.
    """

    content: bytes
    diff_id: str
    scenario: str
    generation: int
    title: str
    description: str
    license: str | None
    bundle: str
    tools: str
    seed: str


def build(folder: Path) -> ScenarioLayer:
    """The layer of the bundle in `folder`.

    What is no part of the bundle's identity, such as reports, is left out: gating anew makes no new image.

    Raises:
        BundleError: The bundle cannot be read.
        ImageError: Its database cannot be built.
    """
    bundle = reading.read(folder)
    files = digest.files(bundle)
    identity = digest.of(files)
    database = seeds.build(bundle)
    placed = {f"{BUNDLE}/{path}": content for path, content in files.items()}
    plain = tar({**placed, f"{SEEDS}/{keeper.seed_name(identity)}": database})
    scenario = bundle.scenario
    return ScenarioLayer(
        content=compression.compress(plain),
        diff_id=model.digest_of(plain),
        scenario=scenario.name,
        generation=scenario.generation,
        title=scenario.title,
        description=scenario.description,
        license=scenario.provenance.license,
        bundle=identity,
        tools=model.digest_of(files["tools.json"]),  # as `digest.tools_hash` has it, over the same text
        seed=seeds.state_hash(database),
    )


def unpack(layer: model.Blob, members: re.Pattern[str] = _MEMBER) -> dict[str, bytes]:
    """The files of a scenario's layer by path, read as data of a stranger.

    Args:
        layer: The layer.
        members: Which files may be in it; the first group is the path.

    Raises:
        ImageError: It is no such layer.
    """
    try:
        plain = b"".join(_limited(compression.decompressed(layer.chunks()), layer.digest))
        with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
            return dict(_members(archive, members, layer.digest))
    except (tarfile.TarError, zlib.error, EOFError) as exc:
        raise errors.ImageError(f"the layer {layer.digest} is corrupt: {exc}") from exc


def _members(archive: tarfile.TarFile, members: re.Pattern[str], name: str) -> Iterable[tuple[str, bytes]]:
    for member in archive:
        if member.isdir():
            continue
        found = members.fullmatch(member.name)
        if not (found and member.isreg()):
            raise errors.ImageError(f"the layer {name} is no scenario's or catalogue's: it holds {member.name!r}")
        file = archive.extractfile(member)
        assert file is not None
        yield found[1], file.read()


def _limited(chunks: Iterable[bytes], name: str) -> Iterable[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > _LARGEST:
            raise errors.ImageError(f"the layer {name} holds more than {_LARGEST >> 20} MiB: it is no scenario's")
        yield chunk


def tar(files: Mapping[str, bytes]) -> bytes:
    """Files and the folders above them, sorted; owned by root, readable by all, from the beginning of time."""
    folders = {path[:end] for path in files for end, character in enumerate(path) if character == "/"}
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted((*folders, *files)):
            entry = tarfile.TarInfo(path)
            entry.mode = 0o755 if path in folders else 0o644
            if path in folders:
                entry.type = tarfile.DIRTYPE
                archive.addfile(entry)
            else:
                entry.size = len(files[path])
                archive.addfile(entry, io.BytesIO(files[path]))
    return output.getvalue()
