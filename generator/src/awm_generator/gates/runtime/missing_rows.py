"""What is not there is a 404."""

from collections.abc import Iterator

from awm_generator.gates import observing, protocol

_HIDDEN = frozenset({403, 404, 410})


def find(seen: observing.Observed) -> Iterator[protocol.Found]:
    """A defect per tool that takes the id of something missing in its path and does not say so."""
    for probe in seen.probes:
        # A 5xx is another gate's business.
        if probe.kind != "missing" or "{" not in probe.path or probe.call.blame in ("environment", "infrastructure"):
            continue
        if not (probe.call.status in _HIDDEN or (probe.call.status is None and probe.call.refused)):
            detail = f"{probe.method} {probe.path} of what is not there answered {probe.call.status}, not 404"
            yield protocol.Found(probe.call.tool, detail, probe.call.evidence())


GATE = protocol.Gate(
    id="runtime.missing-rows",
    severity="fail",
    checks="A path that names what is not there is answered with 404 (or 403 or 410).",
    example='get_order {"order_id": 999999} -> 200 null',
    mend="Raise HTTPException(404, ...) with a sentence that names what was looked for.",
    find=find,
)
