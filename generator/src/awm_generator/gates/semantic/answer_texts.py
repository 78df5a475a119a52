"""The answer is not on the tools' labels."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from awm_generator.gates import judging, protocol

_SHORTEST = 5


def find(seen: judging.Seen) -> Iterator[protocol.Found]:
    """A defect per task whose answer stands in the text of a tool."""
    texts = {str(tool["name"]): _plain(" | ".join(_strings(tool))) for tool in seen.bundle.tools}
    for each in seen.tasks:
        answer = _plain(each.task.answer or "")
        if len(answer) < _SHORTEST:
            continue
        for name, text in texts.items():
            if f" {answer} " in f" {text} ":
                yield protocol.Found(each.task.id, f"the text of {name} gives its answer away", {"answer": answer})


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for each in value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ():
        yield from _strings(each)


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+(?:\.\d+)?", text.casefold()))


GATE = protocol.Gate(
    id="semantic.answer-texts",
    severity="fail",
    checks="No description or example of a tool has a task's answer in it.",
    example="busiest: the text of get_workload gives its answer away",
    mend="Take another example for the tool, one that no task asks for.",
    find=find,
)
