"""Walks: long sequences of random calls, seeded, and the same calls made again in other circumstances."""

import asyncio
import random
from dataclasses import dataclass

from awm_generator.gates import fuzzing, hosting, seeds
from awm_runtime.server import episodes

CALLS = 80
INTERLEAVED = 30
_AROUND = 12
_WILDNESS = 0.12
_SEEDS = (1, 2)


@dataclass(frozen=True)
class Run:
    """The calls of one episode, and the hash of the state that they led to."""

    calls: tuple[hosting.Call, ...]
    state: str


@dataclass(frozen=True)
class Walks:
    """Two walks, and what became of their calls elsewhere.

    Attributes:
        first, second: Each in an episode of its own, by itself.
        replayed: The first one's calls in another fresh episode.
        interleaved: The beginnings of both, call by call in turn.
        alone: The same beginnings as they were by themselves, when they were walked first.
        reset_state: The state of the first one's episode after a reset.
        after_reset: The first one's beginning, made again in that episode.
    """

    first: Run
    second: Run
    replayed: Run
    interleaved: tuple[Run, Run]
    alone: tuple[Run, Run]
    reset_state: str
    after_reset: Run


async def walk(host: hosting.Host) -> Walks:
    """Walks through the scenario."""
    known = _known(host.subject.data)
    opened = await host.open()
    first, first_alone = await _drawn(host, opened, known, _SEEDS[0])
    await host.reset(opened)
    reset_state = host.state_hash(opened)
    after_reset = await _again(host, opened, first.calls[:INTERLEAVED])
    await host.close(opened)
    async with host.episode() as episode:
        second, second_alone = await _drawn(host, episode, known, _SEEDS[1])
    async with host.episode() as episode:
        replayed = await _again(host, episode, first.calls)
    interleaved = await _interleaved(host, first, second)
    return Walks(first, second, replayed, interleaved, (first_alone, second_alone), reset_state, after_reset)


def _known(data: seeds.Seed) -> fuzzing.Seen:
    """The rows of the seed as values for arguments."""
    seen = fuzzing.Seen()
    for table in data.tables.values():
        for row in table.rows:
            seen.learn(row)
            if table.key is not None:
                seen.note(f"{seeds.singular(table.name)}_id", row[table.key])
    return seen


async def _drawn(host: hosting.Host, episode: episodes.Episode, known: fuzzing.Seen, seed: int) -> tuple[Run, Run]:
    """A walk, and its beginning."""
    tools = host.subject.code.toolset.served if host.subject.code is not None else []
    player = fuzzing.Player(tools, known.copy(), random.Random(seed), _WILDNESS)  # noqa: S311 - reproducible
    made: list[hosting.Call] = []
    beginning = Run((), host.state_hash(episode))
    # First a look around, at what the tools themselves show.
    around: list[fuzzing.Call] = [
        (tool["name"], {}) for tool in tools if fuzzing.reads(tool) and not tool["inputSchema"].get("required")
    ]
    while tools and len(made) < CALLS:
        tool, arguments = around[len(made)] if len(made) < min(len(around), _AROUND) else player.next()
        call = await host.call(episode, tool, arguments)
        made.append(call)
        if len(made) == INTERLEAVED:
            beginning = Run(tuple(made), host.state_hash(episode))
        if not call.failed:
            data = call.data()
            player.seen.learn(data)
            player.seen.show(f"{seeds.singular(tool.rsplit('_', 1)[-1])}_id", data)
    return Run(tuple(made), host.state_hash(episode)), beginning


async def _again(host: hosting.Host, episode: episodes.Episode, made: tuple[hosting.Call, ...]) -> Run:
    calls = await host.play(episode, [(call.tool, call.arguments) for call in made])
    return Run(tuple(calls), host.state_hash(episode))


async def _interleaved(host: hosting.Host, first: Run, second: Run) -> tuple[Run, Run]:
    one, other = await host.open(), await host.open()
    made: tuple[list[hosting.Call], list[hosting.Call]] = ([], [])
    for mine, theirs in zip(first.calls[:INTERLEAVED], second.calls[:INTERLEAVED], strict=True):
        pair = await asyncio.gather(
            host.call(one, mine.tool, mine.arguments, checked=False),
            host.call(other, theirs.tool, theirs.arguments, checked=False),
        )
        for calls, call in zip(made, pair, strict=True):
            calls.append(call)
    runs = (Run(tuple(made[0]), host.state_hash(one)), Run(tuple(made[1]), host.state_hash(other)))
    await host.close(one)
    await host.close(other)
    return runs


def first_difference(run: Run, other: Run) -> tuple[int, hosting.Call, hosting.Call] | None:
    """The first call that came to something else, counted from 1; None where all replies are the same."""
    for number, (mine, theirs) in enumerate(zip(run.calls, other.calls, strict=True), start=1):
        if (mine.text, mine.status, mine.blame) != (theirs.text, theirs.status, theirs.blame):
            return number, mine, theirs
    return None
