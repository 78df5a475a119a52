"""What a person types for a place of images: `oci:DIR`, `archive:FILE`, `docker:NAME`, `registry:HOST/REPOSITORY`."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from awm_generator.images import errors

Kind = Literal["oci", "archive", "docker", "registry"]
FORMS = "oci:DIR[:NAME], archive:FILE[:NAME], docker:NAME or registry:HOST/REPOSITORY[:TAG|@DIGEST]"
_HOST = r"(?P<host>[A-Za-z0-9.-]+(?::\d+)?|\[[0-9a-fA-F:]+\](?::\d+)?)"
_REPOSITORY = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
_IN_REGISTRY = re.compile(
    rf"{_HOST}/(?P<repository>{_REPOSITORY})(?::(?P<tag>[\w][\w.-]{{0,127}}))?(?:@(?P<digest>sha256:[0-9a-f]{{64}}))?"
)
_LOOPBACK = re.compile(r"(localhost|127\.[\d.]+|\[::1\])(:\d+)?")


@dataclass(frozen=True, slots=True)
class Reference:
    """A place of images, and which one there.

    Attributes:
        kind: What kind of place.
        place: The folder, the file, the image's name at the engine, or HOST/REPOSITORY.
        name: The image's name there, its tag or its digest; None where it was not said.
    """

    kind: Kind
    place: str
    name: str | None = None

    def __str__(self) -> str:
        joint = "@" if (self.name or "").startswith("sha256:") and self.kind == "registry" else ":"
        return f"{self.kind}:{self.place}{joint + self.name if self.name else ''}"

    @property
    def host(self) -> str:
        """The registry's host and port."""
        return self.place.partition("/")[0]

    @property
    def repository(self) -> str:
        """The repository in the registry."""
        return self.place.partition("/")[2]

    def named(self, name: str) -> "Reference":
        """Another image of the same place."""
        return Reference(self.kind, self.place, name)


def parse(text: str) -> Reference:
    """Reads a reference.

    Raises:
        ImageError: It has none of the forms.
    """
    kind, _, rest = text.partition(":")
    if kind not in get_args(Kind):
        raise errors.ImageError(f"{text!r} does not say where the image is: write {FORMS}")
    if kind == "docker":
        return Reference("docker", rest)
    if not rest:
        raise errors.ImageError(f"{text!r}: write {FORMS}")
    return _in_registry(rest) if kind == "registry" else _on_disk(cast(Kind, kind), rest)


def is_loopback(host: str) -> bool:
    """Whether a registry's host is this machine."""
    return _LOOPBACK.fullmatch(host) is not None


def _on_disk(kind: Kind, rest: str) -> Reference:
    path, colon, name = rest.partition(":")
    if not colon or Path(rest).exists():
        return Reference(kind, rest)
    return Reference(kind, path, name or None)


def _in_registry(rest: str) -> Reference:
    found = _IN_REGISTRY.fullmatch(rest)
    if found is None:
        raise errors.ImageError(
            f"'registry:{rest}': write registry:HOST/REPOSITORY[:TAG|@DIGEST], the repository in lower case"
        )
    return Reference("registry", f"{found['host']}/{found['repository']}", found["digest"] or found["tag"])
