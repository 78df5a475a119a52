"""Other right ways pass."""

from collections.abc import Iterator

from awm_generator.gates import judging, protocol


def find(seen: judging.Seen) -> Iterator[protocol.Found]:
    """A defect per equivalent of an oracle that a verifier turns down."""
    for each in seen.tasks:
        if not all(judged.complete for judged in each.of("oracle")):
            continue  # the oracle itself fails, and so will these
        for judged in each.of("equivalent"):
            if not judged.complete:
                yield protocol.Found(each.task.id, f"not complete, because {judged.trial.what}", judged.evidence())


GATE = protocol.Gate(
    id="semantic.equivalents",
    severity="fail",
    checks="An oracle with independent calls in another order, with more readings, or with a refused call before the "
    "right one, comes to the same and is complete.",
    example="settle-up: not complete, because calls 3 and 4 are exchanged",
    mend="Do not compare generated ids, times of record, or the order of rows.",
    find=find,
)
