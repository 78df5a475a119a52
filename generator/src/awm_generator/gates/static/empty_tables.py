"""No table is empty that a task needs."""

import re
from collections.abc import Iterator

from awm_generator.gates import protocol, subjects, tasks


def find(subject: subjects.Subject) -> Iterator[protocol.Found]:
    """A defect per empty table whose rows a task speaks of, and is not there to make."""
    for name in [name for name, rows in subject.built.tables.items() if not rows]:
        words = name.casefold().split("_")
        for task in subject.bundle.tasks:
            text = task.instruction.casefold()
            named = all(re.search(rf"\b{re.escape(tasks.stem(word))}", text) for word in words)
            if named and not tasks.creates(text):
                detail = f"task {task.id} speaks of its rows, and the seed has none"
                yield protocol.Found(name, detail, {"task": task.instruction})
                break


GATE = protocol.Gate(
    id="static.empty-tables",
    severity="fail",
    checks="No table is empty whose rows a task speaks of, unless the task makes something.",
    example="fines: task pay-fine speaks of its rows, and the seed has none",
    mend="Insert rows that the task can be solved with, and others that it must leave alone.",
    find=find,
)
