"""Reads an image from wherever it is."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from awm_generator.images import archives, engines, errors, layouts, model, references, registries


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How image registries are reached.

    Attributes:
        plain_http: Whether to speak without TLS to hosts other than this machine.
        ca: A file with further certificates to trust.
    """

    plain_http: bool = False
    ca: Path | None = None

    @contextlib.contextmanager
    def registry(self, host: str) -> Iterator[registries.Registry]:
        """A client of a registry for the length of a `with` block."""
        with contextlib.closing(registries.Registry(host, plain_http=self.plain_http, ca=self.ca)) as registry:
            yield registry


@contextlib.contextmanager
def opened(reference: references.Reference, access: Access) -> Iterator[model.Image]:
    """An image; its layers can be read within the `with` block.

    Raises:
        ImageError: It is not there, or broken; the message names the reference.
        Unavailable: The engine or the registry does not answer.
        Denied: It is not to be had without other credentials or rights.
    """
    with contextlib.ExitStack() as stack:
        try:
            yield _read(reference, access, stack)
        except errors.ImageError as exc:
            raise errors.ImageError(f"{reference}: {exc}") from exc


def from_engine(name: str) -> model.Image:
    """An image of the Docker engine."""
    with contextlib.closing(engines.Engine()) as engine:
        return engine.read(name)


def _read(reference: references.Reference, access: Access, stack: contextlib.ExitStack) -> model.Image:
    if reference.kind == "oci":
        return layouts.Layout(Path(reference.place)).read(reference.name)
    if reference.kind == "archive":
        return archives.read(Path(reference.place), reference.name)
    if reference.kind == "docker":
        return from_engine(reference.place)
    registry = stack.enter_context(access.registry(reference.host))
    return registry.read(reference.repository, reference.name or "latest")
