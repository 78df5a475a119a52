"""Every task can be judged."""

from collections.abc import Iterator

from awm_generator import checking
from awm_generator.gates import protocol, subjects


def find(subject: subjects.Subject) -> Iterator[protocol.Found]:
    """A defect per verifier that is none, and per task without one."""
    for slip in checking.unusable_verifiers(subject.bundle):
        yield protocol.Found(*slip)
    for task in checking.unjudged(subject.bundle):
        yield protocol.Found(task, "it has no verifier")


GATE = protocol.Gate(
    id="static.verifiers",
    severity="fail",
    checks="Every task has a verifier, and every verifier is Python that defines the function of its mode.",
    example="verifiers/7.code.py: it is not Python that defines verify_task_completion",
    mend="Write verify_task_completion(initial_db_path, final_db_path, final_answer=None) for the task.",
    find=find,
)
