"""Which `Environment` objects the catalogue's index asks for. Pure.

An entry makes an object, and changes it again only when its generation is newer than the one that came before: so an
upgrade or a rollback of the chart never moves a scenario back that was regenerated meanwhile.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from awm_fleet.backends.kubernetes import model, names, settings
from awm_registry.catalogue import model as catalogue
from awm_registry.catalogue import reading


@dataclass(frozen=True, slots=True)
class Seed:
    """An entry that a new object is made of, or that the object which is there is to be moved to.

    Attributes:
        warm: Whether a new object is awake from the start, and stays so.
    """

    entry: catalogue.Entry
    is_new: bool
    warm: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """An entry that cannot be served on a cluster, and why."""

    scenario: str
    reason: str


def newest(rows: Iterable[Any]) -> tuple[dict[str, catalogue.Entry], list[Refused]]:
    """The newest generation of each scenario that has an image, and the rows that cannot be used.

    Args:
        rows: Those of an index, not looked at yet.
    """
    found: dict[str, catalogue.Entry] = {}
    refused: list[Refused] = []
    seen: set[tuple[str, int]] = set()
    for row in rows:
        try:
            each = reading.entry(row)
        except reading.Unreadable as exc:
            refused.append(Refused(reading.name_of(row) or "a row without a name", str(exc)))
            continue
        if (each.name, each.generation) in seen:
            refused.append(Refused(each.name, f"generation {each.generation} is in the index twice"))
            continue
        seen.add((each.name, each.generation))
        if each.image is None:
            refused.append(Refused(each.name, "the index names no image: build images and the catalogue from them"))
        elif each.name not in found or found[each.name].generation < each.generation:
            found[each.name] = each
    return found, refused


def seeds(
    team: settings.Team, entries: Mapping[str, catalogue.Entry], live: Mapping[str, model.Environment]
) -> tuple[Sequence[Seed], Sequence[Refused]]:
    """What to apply for a team, and the scenarios that it wants in vain.

    Args:
        entries: `newest`, by scenario.
        live: The team's objects, by their names.
    """
    wanted = sorted(entries) if team.scenarios is None else list(team.scenarios)
    found: list[Seed] = []
    refused: list[Refused] = []
    for position, scenario in enumerate(wanted):
        entry = entries.get(scenario)
        if entry is None:
            refused.append(Refused(scenario, f"team {team.name} asks for it, and the index does not have it"))
            continue
        present = live.get(names.environment(scenario))
        if present is None:
            found.append(Seed(entry, is_new=True, warm=team.is_warm(scenario, position)))
        elif not present.deleting and _is_newer(entry, present):
            found.append(Seed(entry, is_new=False))
    return found, refused


def _is_newer(entry: catalogue.Entry, present: model.Environment) -> bool:
    """Whether the entry is newer than what came from the catalogue, and than what runs."""
    return entry.generation > (present.catalog_generation or 0) and entry.generation > present.bundle_generation
