"""A change too many fails."""

from collections.abc import Iterator

from awm_generator.gates import judging, protocol


def find(seen: judging.Seen) -> Iterator[protocol.Found]:
    """A defect per change outside the oracle's own that a verifier overlooks."""
    for each in seen.tasks:
        for judged in each.of("outside"):
            if judged.complete:
                yield protocol.Found(each.task.id, f"complete, though {judged.trial.what}", judged.evidence())


GATE = protocol.Gate(
    id="semantic.outside-changes",
    severity="fail",
    checks="A solved task is not complete once a row that it has nothing to do with was edited or removed; times of "
    "record and generated ids do not count.",
    example="renew: complete, though members 3: name is 'Ada*' in place of 'Ada'",
    mend="Compare all tables: whatever differs and was not asked for makes the result others.",
    find=find,
)
