"""Bad arguments are a 4xx."""

from collections.abc import Iterator

from awm_generator.gates import observing, probing, protocol


def find(seen: observing.Observed) -> Iterator[protocol.Found]:
    """A defect per tool that did what it was asked with arguments that mean nothing."""
    for probe in seen.probes:
        call = probe.call
        # Reading with an odd filter finds nothing, which is an answer; an odd id in the path is not.
        strict = call.tool not in seen.reading() or "{" in probe.path
        if strict and not call.failed and _is_bad(probe):
            what = "negative or empty arguments" if probe.kind == "negative" else "garbage"
            yield protocol.Found(call.tool, f"it took {what} and answered {call.status}", call.evidence())


def _is_bad(probe: probing.Probe) -> bool:
    """Whether its arguments mean nothing: a text of garbage may be a note, a number of garbage is none."""
    values = probe.call.arguments.values()
    if probe.kind == "negative":
        return any(value in (-1, "") for value in values if not isinstance(value, bool))
    return probe.kind == "garbage" and any(value == "garbage" for value in values)


GATE = protocol.Gate(
    id="runtime.bad-arguments",
    severity="fail",
    checks="A tool that writes, or that names a row in its path, refuses negative, empty and garbage arguments by 4xx.",
    example='set_price {"product_id": 1, "price": -1} -> 200',
    mend="Give the model's fields their limits (ge=, min_length=), which the tool's schema then shows as well.",
    find=find,
)
