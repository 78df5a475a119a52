"""Tasks differ from each other."""

import difflib
import itertools
import re
from collections.abc import Iterator

from awm_generator.gates import protocol, subjects
from awm_runtime.bundle import model

NEAR = 0.9
"""From this share of common words, in order, two tasks are one task twice."""


def find(subject: subjects.Subject) -> Iterator[protocol.Found]:
    """A defect per pair of tasks that say the same, and per task that says nothing."""
    for task in subject.bundle.tasks:
        if not _words(task):
            yield protocol.Found(task.id, "it has no instruction")
    for first, second in itertools.combinations(subject.bundle.tasks, 2):
        one, other = _words(first), _words(second)
        matcher = difflib.SequenceMatcher(None, one, other, autojunk=False)
        if one and matcher.real_quick_ratio() >= NEAR and matcher.quick_ratio() >= NEAR and matcher.ratio() >= NEAR:
            what = "the same as" if one == other else "nearly the same as"
            evidence = {first.id: first.instruction, second.id: second.instruction}
            yield protocol.Found(second.id, f"it is {what} {first.id}", evidence)


def _words(task: model.Task) -> list[str]:
    return re.findall(r"\w+", task.instruction.casefold())


GATE = protocol.Gate(
    id="static.task-texts",
    severity="fail",
    checks="Every task has an instruction, and no two have nine tenths of their words in common.",
    example="7: it is nearly the same as 3",
    mend="Replace one of the two by a task about another part of the scenario.",
    find=find,
)
