"""Reads out of a conversation what is asked for: our prompts say so in their own lines."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_JOB = re.compile(r"^AWM job: (\w+)$", re.MULTILINE)
_TITLE = re.compile(r"^Scenario: (.+)$", re.MULTILINE)
_NUMBER = re.compile(r"^Task number: (\d+)$", re.MULTILINE)
_COUNT = re.compile(r"^(?:How many: |Write )(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Job:
    """What a conversation is about.

    Attributes:
        kind: What is asked for, as the prompts name it; empty where it is none of ours.
        title: Whose.
        number: Of which task.
        count: How many are wanted.
        items: What is listed as JSON, one per line.
        partial: The beginning of a reply that was cut off, where the rest is asked for.
        round: Which user message this is; from 1.
    """

    kind: str = ""
    title: str = ""
    number: int = 0
    count: int = 0
    items: tuple[dict[str, Any], ...] = ()
    partial: str = ""
    round: int = 1


def recognised(messages: Sequence[Mapping[str, Any]]) -> Job:
    """The job that a conversation is about."""
    texts = [(str(each.get("role")), str(each.get("content") or "")) for each in messages]
    system = "\n".join(text for role, text in texts if role in ("system", "developer"))
    user = next((text for role, text in texts if role == "user"), "")
    kind, title, number, count = (
        _first(pattern, text) for pattern, text in ((_JOB, system), (_TITLE, user), (_NUMBER, user), (_COUNT, user))
    )
    cut = len(texts) > 2 and texts[-2][0] == "assistant" and "was cut off" in texts[-1][1]
    return Job(
        kind=kind,
        title=title.strip(),
        number=int(number or 0),
        count=int(count or 0),
        items=tuple(_listed(user)),
        partial=texts[-2][1] if cut else "",
        round=sum(role == "user" for role, _ in texts),
    )


def _first(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[1] if match else ""


def _listed(text: str) -> list[dict[str, Any]]:
    found = []
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict) and "name" in value:
                found.append(value)
    return found
