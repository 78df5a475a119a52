"""How large generated scenarios are, and how different from one another."""

import ast
import itertools
import re
import statistics
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from awm_generator.builtin import reading
from awm_runtime.bundle import model

_COLUMN = re.compile(r"CREATE TABLE (\w+) \((.*?)\n\);", re.DOTALL)
_SHINGLE = 3
_SKETCH = 8
NEAR = 0.8
"""Tasks that share this part of their three-word runs count as nearly the same."""


@dataclass(frozen=True)
class Facts:
    """What is compared of one bundle; small, so that thousands fit in memory.

    Attributes:
        code: The file of its code, read again only where it may be another's.
    """

    name: str
    source: str
    tools: frozenset[str]
    columns: frozenset[str]
    code: Path
    tables: int
    rows: int
    calls: tuple[int, ...]
    difficulties: tuple[str, ...]
    instructions: tuple[str, ...]
    tier: str


@dataclass(frozen=True)
class Spread:
    """A figure over all bundles."""

    mean: float
    least: int
    median: float
    most: int


def facts(bundle: model.Bundle) -> Facts:
    """What is compared of a bundle."""
    counts = bundle.scenario.counts or model.Counts(tables=0, rows=0, tools=0, tasks=0)
    oracles = [task.oracle for task in bundle.tasks if task.oracle]
    return Facts(
        name=bundle.scenario.name,
        source=bundle.scenario.provenance.source.split("+")[0].removeprefix("builtin:").split(":")[0],
        tools=frozenset(str(tool["name"]) for tool in bundle.tools),
        columns=frozenset(_columns(bundle.schema_sql)),
        code=bundle.root / "environment.py",
        tables=counts.tables,
        rows=counts.rows,
        calls=tuple(len(oracle.calls) for oracle in oracles),
        difficulties=tuple(task.difficulty or "none" for task in bundle.tasks),
        instructions=tuple(task.instruction for task in bundle.tasks),
        tier=bundle.scenario.tier or "none",
    )


def document(collected: Sequence[Facts]) -> dict[str, Any]:
    """All figures, as JSON values."""
    calls = [number for each in collected for number in each.calls]
    tasks = [text for each in collected for text in each.instructions]
    exact, near = duplicates(tasks)
    return {
        "scenarios": len(collected),
        "categories": categories(collected),
        "sources": dict(sorted(Counter(each.source for each in collected).items())),
        "tiers": dict(sorted(Counter(each.tier for each in collected).items())),
        "tools": asdict(spread(len(each.tools) for each in collected)),
        "tables": asdict(spread(each.tables for each in collected)),
        "rows": asdict(spread(each.rows for each in collected)),
        "tasks": asdict(spread(len(each.instructions) for each in collected)),
        "calls_per_oracle": asdict(spread(calls)),
        "difficulties": dict(sorted(Counter(name for each in collected for name in each.difficulties).items())),
        "diversity": {
            "identical_code": identical_code(collected),
            "identical_tool_sets": _repeated(each.tools for each in collected),
            "tool_name_overlap": overlap([each.tools for each in collected]),
            "schema_overlap": overlap([each.columns for each in collected]),
            "duplicate_tasks": exact,
            "near_duplicate_tasks": near,
        },
    }


def categories(collected: Sequence[Facts]) -> dict[str, int]:
    """How many are of each category of blueprints; `other` are those that no shipped blueprint was the source of."""
    shipped = reading.shipped_blueprints()
    found: Counter[str] = Counter()
    for source, count in Counter(each.source for each in collected).items():
        found[reading.blueprint(shipped[source])[0].category if source in shipped else "other"] += count
    return dict(sorted(found.items()))


def identical_code(collected: Sequence[Facts]) -> int:
    """How many have the code of an earlier one, comments and layout aside; such have the same tools."""
    alike: defaultdict[frozenset[str], list[Path]] = defaultdict(list)
    for each in collected:
        alike[each.tools].append(each.code)
    groups = (files for files in alike.values() if len(files) > 1)
    return sum(_repeated(ast.dump(ast.parse(file.read_text("utf-8"))) for file in files) for files in groups)


def spread(values: Iterable[int]) -> Spread:
    """Mean, least, median and most."""
    numbers = list(values) or [0]
    return Spread(round(statistics.fmean(numbers), 2), min(numbers), statistics.median(numbers), max(numbers))


def overlap(sets: Sequence[frozenset[str]]) -> dict[str, float]:
    """The Jaccard overlap between pairs: its mean, the mean of each set's closest other one, and the highest."""
    if len(sets) < 2:
        return {"mean": 0.0, "closest_mean": 0.0, "highest": 0.0}
    closest = [0.0] * len(sets)
    total = 0.0
    for (i, first), (j, second) in itertools.combinations(enumerate(sets), 2):
        shared = len(first & second)
        value = shared / (len(first) + len(second) - shared or 1)
        total += value
        closest[i], closest[j] = max(closest[i], value), max(closest[j], value)
    pairs = len(sets) * (len(sets) - 1) / 2
    mean, nearest = total / pairs, statistics.fmean(closest)
    return {"mean": round(mean, 4), "closest_mean": round(nearest, 4), "highest": round(max(closest), 4)}


def duplicates(texts: Sequence[str]) -> tuple[int, int]:
    """How many texts repeat an earlier one, and how many more are nearly one."""
    exact = len(texts) - len(set(texts))
    different = list(dict.fromkeys(texts))
    runs = [_runs(text) for text in different]
    buckets: defaultdict[int, list[int]] = defaultdict(list)
    near: set[int] = set()
    for number, shingles in enumerate(runs):
        sketch = sorted(shingles)[:_SKETCH]
        candidates = {other for key in sketch for other in buckets[key]}
        if any(_jaccard(shingles, runs[other]) >= NEAR for other in candidates):
            near.add(number)
        for key in sketch:
            buckets[key].append(number)
    return exact, len(near)


def _runs(text: str) -> frozenset[int]:
    words = re.findall(r"\w+", text.casefold())
    count = max(1, len(words) - _SHINGLE + 1)
    return frozenset(zlib.crc32(" ".join(words[start : start + _SHINGLE]).encode()) for start in range(count))


def _jaccard(first: frozenset[int], second: frozenset[int]) -> float:
    shared = len(first & second)
    return shared / (len(first) + len(second) - shared)


def _repeated(values: Iterable[object]) -> int:
    """How many repeat an earlier one."""
    return sum(count - 1 for count in Counter(values).values())


def _columns(schema_sql: str) -> Iterator[str]:
    for table, body in _COLUMN.findall(schema_sql):
        for line in body.strip().split("\n"):
            name = line.split()[0]
            if name.isidentifier() and name.upper() not in ("UNIQUE", "PRIMARY", "FOREIGN", "CHECK", "CONSTRAINT"):
                yield f"{table}.{name}"
