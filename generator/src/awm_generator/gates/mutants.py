"""Mutants of an oracle: what an agent does that has understood a task nearly."""

import contextlib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from awm_generator.gates import fuzzing, hosting, seeds

MOST = 12
"""Mutants of one task; the kinds take turns."""

_WRITES = 3
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_NUMBER = re.compile(r"\d+(?!.*\d)", re.DOTALL)
_NOT_AN_ANSWER = "I could not find that out."


@dataclass(frozen=True)
class Variant:
    """Another way than the oracle's.

    Attributes:
        what: What is different, in words.
        calls: The calls.
        answer: The answer that follows them.
    """

    what: str
    calls: tuple[fuzzing.Call, ...]
    answer: str | None


@dataclass(frozen=True)
class Solution:
    """An oracle as it was played: its calls in plain values, and its answer.

    Attributes:
        literal: Whether the answer is written out in the oracle, and not read from replies.
    """

    calls: tuple[hosting.Call, ...]
    answer: str | None
    literal: bool = False

    @property
    def plain(self) -> tuple[fuzzing.Call, ...]:
        """Its calls, without what came of them."""
        return tuple((call.tool, call.arguments) for call in self.calls)

    @property
    def writes(self) -> list[int]:
        """Which of its calls changed something: the first ones and the last."""
        changed = [place for place, call in enumerate(self.calls) if call.changed]
        return changed if len(changed) <= _WRITES else [*changed[: _WRITES - 1], changed[-1]]


def of(
    solution: Solution,
    tools: Sequence[Any],
    data: seeds.Seed,
    *,
    spoilers: Iterable[fuzzing.Call] = (),
    other_answers: Iterable[str] = (),
) -> list[Variant]:
    """The mutants of a solution.

    Args:
        solution: The oracle as it was played.
        tools: The tools as listed.
        data: The seed.
        spoilers: Calls that are known to change something, for the extra write.
        other_answers: Answers of other tasks.
    """
    kinds: list[Iterator[Variant]] = [
        _dropped(solution),
        _entities(solution, data),
        _values(solution, tools),
        _swapped(solution),
        _doubled(solution),
        _spoiled(solution, spoilers),
        _answers(solution, other_answers),
    ]
    turns = (variant for turn in itertools.zip_longest(*kinds) for variant in turn if variant is not None)
    return list(itertools.islice(turns, MOST))


def _dropped(solution: Solution) -> Iterator[Variant]:
    for place in solution.writes:
        calls = solution.plain[:place] + solution.plain[place + 1 :]
        yield Variant(f"call {place + 1} ({solution.calls[place].tool}) is left out", calls, solution.answer)


def _entities(solution: Solution, data: seeds.Seed) -> Iterator[Variant]:
    for place in solution.writes:
        call = solution.calls[place]
        for name, value in call.arguments.items():
            if not _is_key(name) or isinstance(value, bool) or not isinstance(value, int | str):
                continue
            for other in [each for each in data.values(_key_name(name, call), type(value)) if each != value][:2]:
                yield _altered(solution, place, {name: other}, f"{name} is {other!r} in place of {value!r}")


def _values(solution: Solution, tools: Sequence[Any]) -> Iterator[Variant]:
    schemas = {tool["name"]: tool.get("inputSchema", {}).get("properties", {}) for tool in tools}
    for place in solution.writes:
        call = solution.calls[place]
        for name, value in call.arguments.items():
            other = _other(value, schemas.get(call.tool, {}).get(name, {}))
            if not _is_key(name) and other is not None:
                yield _altered(solution, place, {name: other}, f"{name} is {other!r} in place of {value!r}")


def _swapped(solution: Solution) -> Iterator[Variant]:
    for place in solution.writes:
        arguments = solution.calls[place].arguments
        for one, two in itertools.combinations(arguments, 2):
            first, second = arguments[one], arguments[two]
            if type(first) is type(second) and first != second and not isinstance(first, bool):
                yield _altered(solution, place, {one: second, two: first}, f"{one} and {two} are swapped")
                break  # one pair of a call says it all


def _doubled(solution: Solution) -> Iterator[Variant]:
    for place in solution.writes:
        calls = solution.plain[: place + 1] + solution.plain[place:]
        yield Variant(f"call {place + 1} ({solution.calls[place].tool}) is made twice", calls, solution.answer)


def _spoiled(solution: Solution, spoilers: Iterable[fuzzing.Call]) -> Iterator[Variant]:
    for tool, arguments in itertools.islice(spoilers, 2):
        shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        yield Variant(f"one more write: {tool}({shown})", (*solution.plain, (tool, arguments)), solution.answer)


def _answers(solution: Solution, others: Iterable[str]) -> Iterator[Variant]:
    if solution.answer is None:
        return
    wrong = [_NOT_AN_ANSWER, *itertools.islice((each for each in others if each != solution.answer), 1)]
    if not solution.literal and (nearly := _one_more(solution.answer)) is not None:
        wrong.append(nearly)
    for answer in wrong:
        yield Variant(f"the answer is {answer!r}", solution.plain, answer)


def _altered(solution: Solution, place: int, changes: dict[str, Any], what: str) -> Variant:
    tool, arguments = solution.plain[place]
    calls = (*solution.plain[:place], (tool, {**arguments, **changes}), *solution.plain[place + 1 :])
    return Variant(f"call {place + 1} ({tool}): {what}", calls, solution.answer)


def _is_key(name: str) -> bool:
    return name == "id" or name.endswith("_id")


def _key_name(name: str, call: hosting.Call) -> str:
    """What an argument is called when it only says `id`: the tool's last word tells whose."""
    return name if name != "id" else f"{seeds.singular(call.tool.rsplit('_', 1)[-1])}_id"


def _other(value: Any, schema: Any) -> Any:
    """Another value of the same kind; None where none is to be had."""
    parts = [schema, *schema.get("anyOf", ())] if isinstance(schema, dict) else []
    choices = [choice for part in parts if isinstance(part, dict) for choice in part.get("enum", ())]
    if choices:
        return next((choice for choice in choices if choice != value), None)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return _other_text(value)
    return None


def _other_text(value: str) -> str:
    nearly = _one_more(value)
    return nearly if nearly is not None else f"{value} too"


def _one_more(text: str) -> str | None:
    """`text` with its first date a day later, or else its last number one higher; None where it has neither."""
    match = _DATE.search(text)
    if match is not None:
        with contextlib.suppress(ValueError, OverflowError):
            following = (date.fromisoformat(match.group()) + timedelta(days=1)).isoformat()
            return text[: match.start()] + following + text[match.end() :]
    number = _NUMBER.search(text)
    if number is None:
        return None
    following = str(int(number.group()) + 1).zfill(len(number.group()))
    return text[: number.start()] + following + text[number.end() :]
