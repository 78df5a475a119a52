"""Imports AWM's JSON Lines files as bundles. No defect is hidden: each is mended, dropped or noted, and named."""

import dataclasses
import difflib
import os
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent import futures
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from awm_generator.awm_files import drafts, probing, rows, sidecars, untouched
from awm_runtime import errors, names
from awm_runtime.bundle import model, writing

_NO_OPERATIONS = frozenset({"mounted_app", "websocket_route"})  # would not have been tools


@dataclass(frozen=True)
class Imported:
    """What became of one scenario.

    Attributes:
        bundle: As it was written; None where the scenario did not come in.
        quarantined: Why the scenario cannot be used, or None.
        refused: Why it could not be written or restored, though it may be sound, or None.
        detail: More about it, for the scenario's author.
    """

    name: str
    bundle: model.Bundle | None = None
    quarantined: str | None = None
    refused: str | None = None
    detail: str = ""

    @property
    def reason(self) -> str | None:
        """Why there is no bundle, or None where there is one."""
        return self.quarantined or self.refused


def select(found: Mapping[str, rows.Originals], wanted: Collection[str]) -> list[rows.Originals]:
    """The scenarios to import: those named in any spelling, or all that have code or a schema.

    Raises:
        BundleError: there is none of that name; close ones are offered.
    """
    present = {name: originals for name, originals in found.items() if originals.exists}
    for name in wanted:
        if names.normalise(name) not in present:
            close = difflib.get_close_matches(names.normalise(name), present, n=3, cutoff=0.5)
            few = ", ".join(list(present)[:5]) + (", ..." if len(present) > 5 else "")
            hint = f"did you mean {' or '.join(close)}?" if close else f"there are: {few}"
            raise errors.BundleError(f"no scenario {name!r}; {hint}")
    keep = {names.normalise(name) for name in wanted} or present.keys()
    return [originals for name, originals in present.items() if name in keep]


def run(selected: Collection[rows.Originals], out: Path, *, clock: datetime | None = None) -> Iterator[Imported]:
    """Imports scenarios into folders under `out`, several at a time; yields each in order as it is done.

    One that something is in the way of is refused, and the others come in.
    """
    with futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        yield from pool.map(lambda originals: _imported_or_refused(originals, out, clock), selected)


def _imported_or_refused(originals: rows.Originals, out: Path, clock: datetime | None) -> Imported:
    try:
        return import_one(originals, out, clock=clock)
    except errors.BundleError as exc:
        return Imported(originals.name, refused=str(exc))


def import_one(originals: rows.Originals, out: Path, *, clock: datetime | None = None) -> Imported:
    """Imports one scenario into a folder of its name under `out`.

    Raises:
        BundleError: something that is not a bundle is in the way, the disk refuses it, or its sidecar is malformed.
    """
    path = out / originals.name
    bundle = sidecars.restored(originals, path)
    if bundle is None:
        try:
            bundle = _fresh(originals, path, clock)
        except drafts.Quarantined as exc:
            return Imported(originals.name, quarantined=str(exc), detail=exc.detail)
    elif clock is not None:
        bundle = dataclasses.replace(bundle, scenario=bundle.scenario.model_copy(update={"clock": clock}))
    return Imported(originals.name, writing.write(bundle, path))


def finished(draft: model.Bundle, findings: Iterable[model.Finding] = ()) -> model.Bundle:
    """A draft with its tools, with what its code and its verifiers show when they are tried, and with its tier.

    Args:
        draft: The bundle without its tools.
        findings: What else is wrong with it.

    Raises:
        Quarantined: its code does not load.
    """
    bundle, found = _probed(draft)
    bundle, shown = untouched.tried(bundle)
    return drafts.with_findings(bundle, (*found, *shown, *findings))


def _fresh(originals: rows.Originals, path: Path, clock: datetime | None) -> model.Bundle:
    stale = []
    if originals.row(rows.SidecarRow) is not None:
        detail = "the other rows were changed since the export, so that its row here does not count"
        stale.append(model.Finding(kind="stale_sidecar", stage="env", subject=rows.SIDECAR, detail=detail))
    return finished(drafts.draft(originals, path, clock), stale)


def _probed(draft: model.Bundle) -> tuple[model.Bundle, list[model.Finding]]:
    """`draft` with its tools, and what is wrong with them."""
    with tempfile.TemporaryDirectory(prefix="awm-import-") as scratch:
        probe = probing.probe(writing.write(draft, Path(scratch, draft.scenario.name)).root)
    if not probe.ok:
        error = probe.error or probing.ProbeError(reason="for no reason given")
        raise drafts.Quarantined(f"its code does not import: {error.reason}", detail=error.detail)
    counts = draft.scenario.counts and draft.scenario.counts.model_copy(update={"tools": len(probe.tools)})
    scenario = draft.scenario.model_copy(update={"counts": counts})
    bundle = dataclasses.replace(draft, tools=probe.tools, scenario=scenario)
    return bundle, [_tool_finding(finding) for finding in probe.findings]


def _tool_finding(finding: probing.ProbeFinding) -> model.Finding:
    """The probe's finding, as dropped where an operation that would be a tool is not served."""
    lost = not finding.served and finding.kind not in _NO_OPERATIONS
    action: model.Action = "dropped" if lost else "noted"
    return model.Finding(kind=finding.kind, stage="env", subject="tools", action=action, detail=finding.detail)
