"""Oracles call tools that are there, with arguments that these have."""

from collections.abc import Iterator

from awm_generator import oracles
from awm_generator.gates import protocol, subjects


def find(subject: subjects.Subject) -> Iterator[protocol.Found]:
    """A defect per slip in an oracle as it is written."""
    for task in subject.bundle.tasks:
        if task.oracle is not None:
            yield from (protocol.Found(task.id, slip) for slip in oracles.slips(task.oracle, subject.bundle.tools))


GATE = protocol.Gate(
    id="static.oracles",
    severity="fail",
    checks="An oracle calls tools of tools.json with arguments that they have, and reads replies that it saved.",
    example="renew: call 2 (renew_loan): argument 'loan' is unknown",
    mend="Take names from tools.json, and give a call a save name before an expression reads its reply.",
    find=find,
)
