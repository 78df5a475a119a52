"""What a task names is in the seed; what it is to make is not."""

import re
from collections.abc import Iterator

from awm_generator.gates import protocol, seeds, subjects, tasks
from awm_runtime.bundle import model

_CALLED = re.compile(r"(?:^|_)(?:number|no|name|code|label|title|ref|reference)$", re.IGNORECASE)
"""Columns that a row may go by beside its key: room 104 is the one whose number is 104."""


def find(subject: subjects.Subject) -> Iterator[protocol.Found]:
    """A defect per name that leads nowhere, and per name to be made that is taken.

    Quotation marks also stand around values and words of the user's own, so that what they hold is only told.
    """
    for task in subject.bundle.tasks:
        yield from _names(subject, task)
        yield from _numbers(subject, task)


def _names(subject: subjects.Subject, task: model.Task) -> Iterator[protocol.Found]:
    known = subject.data.texts
    for named in tasks.named(task.instruction):
        text = named.text.casefold()
        if named.created and text in known:
            detail = f"it is to make {named.text!r}, which is there already"
            yield protocol.Found(task.id, detail, {"task": task.instruction}, "warn")
        elif not named.introduced and not any(text in value for value in known):
            detail = f"it names {named.text!r}, which is nowhere in the seed"
            yield protocol.Found(task.id, detail, {"task": task.instruction}, "warn")


def _numbers(subject: subjects.Subject, task: model.Task) -> Iterator[protocol.Found]:
    for noun, number in tasks.numbered(task.instruction):
        table = subject.data.of_entity(noun)
        if table is None or table.key is None or noun not in (table.name.casefold(), seeds.singular(table.name)):
            continue
        called = [table.key, *(column.name for column in table.columns if _CALLED.search(column.name))]
        if all(str(row[column]) != str(number) for row in table.rows for column in called):
            shown = ", ".join(str(row[table.key]) for row in table.rows[:20]) or "none"
            detail = f"it names {noun} {number}, and {table.name} has no such row"
            yield protocol.Found(task.id, detail, {"task": task.instruction, "keys": shown})


GATE = protocol.Gate(
    id="static.task-entities",
    severity="fail",
    checks="The quoted names, addresses and numbers (order 42: a row's key, number, name or code) that a task speaks "
    "of are in the seed; the name of something that it is to make is not.",
    example="cancel: it names order 42, and orders has no such row",
    mend="Insert the row, or let the task name one that is there.",
    find=find,
)
