"""Equivalents of an oracle: other ways that solve the task just as well."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from awm_generator.gates import fuzzing, mutants
from awm_runtime.bundle import model

_READS = 3
_MISSING = 999_999


def of(solution: mutants.Solution, tools: Sequence[Any]) -> list[mutants.Variant]:
    """Ways with extra calls: readings, and a call that is refused before the right one."""
    return [*_with_readings(solution, tools), *itertools.islice(_with_retries(solution), 2)]


def reordered(oracle: model.Oracle) -> Iterator[tuple[str, model.Oracle]]:
    """The oracle with two neighbouring calls exchanged, writes first; whether that is another way is to be tried."""
    for place in range(len(oracle.calls) - 2, -1, -1):
        first, second = oracle.calls[place : place + 2]
        if first == second:
            continue
        calls = (*oracle.calls[:place], second, first, *oracle.calls[place + 2 :])
        yield f"calls {place + 1} and {place + 2} are exchanged", oracle.model_copy(update={"calls": calls})


def _with_readings(solution: mutants.Solution, tools: Sequence[Any]) -> Iterator[mutants.Variant]:
    free = [
        (str(tool["name"]), dict[str, Any]())
        for tool in tools
        if fuzzing.reads(tool) and not tool.get("inputSchema", {}).get("required")
    ][:_READS]
    if free:
        calls = (*free, *solution.plain, *free)
        names = ", ".join(name for name, _ in free)
        yield mutants.Variant(f"more is read before and after: {names}", calls, solution.answer)


def _with_retries(solution: mutants.Solution) -> Iterator[mutants.Variant]:
    for place in solution.writes:
        tool, arguments = solution.plain[place]
        keys = [name for name, value in arguments.items() if name.endswith("id") and type(value) is int]
        if keys:
            slip = (tool, {**arguments, keys[0]: _MISSING})
            calls = (*solution.plain[:place], slip, *solution.plain[place:])
            yield mutants.Variant(
                f"call {place + 1} ({tool}) is refused at first, with {keys[0]}={_MISSING}", calls, solution.answer
            )
