"""Plays an oracle and a detour from it twice: branched off the known way, and from the seed. Says what came of both.

    python branched_ways.py BUNDLE TASK FOLDER

A script, because scenario code changes the process that it is loaded in.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from awm_generator import oracles
from awm_generator.gates import branching, hosting, subjects
from awm_runtime.bundle import reading
from awm_runtime.server import engines, inline


async def said(subject: subjects.Subject, task: str) -> dict[str, Any]:
    """What each came to."""
    assert subject.code is not None
    async with hosting.hosted(subject, subject.code) as host, host.episode() as root:
        tree = branching.Tree(host, root)
        [oracle] = [each.oracle for each in subject.bundle.tasks if each.id == task]
        assert oracle is not None
        async with tree.way() as way:
            plan = oracles.plan(oracle)
            try:
                asked = next(plan)
                while True:
                    asked = plan.send((await way.call(*asked)).data())
            except StopIteration:
                solution = way.calls
        plain = [(call.tool, call.arguments) for call in solution]
        detour = [*plain, plain[-1]]
        own = await ended(tree, detour)
        await tree.follow(solution)
        return {"alone": own, "branched": await ended(tree, detour)}


async def ended(tree: branching.Tree, calls: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """What a way comes to."""
    async with tree.way() as way:
        replies = [(await way.call(*call)).reply() for call in calls]
        taken = sum(mine is known for mine, known in zip(way.calls, tree.known, strict=False))
        return {"replies": replies, "changes": await way.changes(), "taken": taken}


def main(bundle: str, task: str, folder: str) -> None:
    """Prints it."""
    engines.install()
    inline.install()
    read, place = reading.read(Path(bundle)), Path(folder)
    subject = subjects.prepare(read, place, subjects.build(read, place))
    print(json.dumps(asyncio.run(said(subject, task))))


if __name__ == "__main__":
    main(*sys.argv[1:])
