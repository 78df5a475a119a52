"""From a bundle to an image that a cluster can pull: the steps of a regeneration that need no cluster.

Each can be repeated: what was gated is not gated again while it has not changed, and an image that is there is left.
"""

from dataclasses import dataclass
from pathlib import Path

from awm_generator.gates import protocol, reports, running
from awm_generator.images import assembly, building, outputs, references, sources
from awm_runtime import errors, names


class NotServable(errors.PermanentError):
    """A bundle, or what it is to be pushed with, is of no use for a cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A bundle's image.

    Attributes:
        image: Its reference by digest, as a pod has it.
        generation, bundle, tools_hash: What is in it.
        is_new: Whether it was not there before.
    """

    image: str
    generation: int
    bundle: str
    tools_hash: str
    is_new: bool


def gated(folder: Path, level: protocol.Level) -> reports.GateReport:
    """What the gates say of a bundle.

    Raises:
        NotServable: It is quarantined, or could not be gated.
    """
    [done] = running.run([folder], level=level)
    if done.report is None:
        raise NotServable(f"{folder} could not be gated: {done.error}")
    if done.report.tier == "quarantined":
        raise NotServable(f"{folder} is quarantined by its gates: {'; '.join(done.report.reasons)}")
    return done.report


def published(
    folder: Path, base: references.Reference, repository: references.Reference, access: sources.Access
) -> Published:
    """Builds a bundle's image on a base, and pushes it.

    Raises:
        NotServable: The bundle cannot be built.
        ImageError, Unavailable, Denied: The base or the registry is not to be had.
    """
    with sources.opened(base, access) as image:
        assembly.check_base(image, str(base))
        with outputs.opened(repository, access) as place:
            [built] = building.build([folder], image, place)
    if built.layer is None or built.stored is None:
        raise NotServable(f"{folder}: {built.error}")
    return Published(
        image=built.stored.reference.removeprefix("registry:"),
        generation=built.layer.generation,
        bundle=built.layer.bundle,
        tools_hash=built.layer.tools,
        is_new=built.stored.state == "written",
    )


def repository_of(image: str, scenario: str) -> references.Reference:
    """Where the images are of which this is the scenario's.

    Raises:
        NotServable: It is not where `awm image build` puts it.
    """
    place, _, name = image.partition("@")[0].rpartition("/")
    if name.partition(":")[0] != names.slug(scenario):
        raise NotServable(f"{image} does not say where the images of all scenarios are: give --repository")
    return references.parse(f"registry:{place}")
