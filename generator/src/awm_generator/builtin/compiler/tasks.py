"""Ten tasks for a scenario: a ladder from one call to a dozen, each kind of step used before one comes twice."""

import difflib
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

from awm_generator.builtin import errors
from awm_generator.builtin.compiler import answers_text, comparing, phrasing, steps
from awm_generator.builtin.compiler.lookups import Calls
from awm_generator.builtin.compiler.phrasing import Voice
from awm_generator.builtin.compiler.simulation import State
from awm_generator.builtin.compiler.steps import Answer, Step
from awm_runtime.bundle import model

COUNT = 10
_EASY, _MEDIUM = 2, 5
_ALIKE = 0.9
_LINKS = 6
_TRIES = 60
_UNTIMELY = 0.2
"""The share of refusals that come of a row's state alone; where it is left to chance, they crowd the rules out."""


@dataclass(frozen=True)
class Planned:
    """A task with the state that it leads to.

    Attributes:
        after: The rows when it is done.
        answer: What it asks for, if anything.
    """

    task: model.Task
    after: State
    answer: Answer | None


def plan(state: State) -> tuple[Planned, ...]:
    """Ten different tasks.

    Raises:
        CompilationError: the world offers too little to do.
    """
    planner = _Planner(state)
    planned: list[Planned] = []
    for rung, makes in enumerate(_LADDER):
        task = next(filter(None, (planner.next(rung, make, planned) for make in makes)), None)
        if task is None:
            known = ", ".join(planner.makers)
            raise errors.CompilationError(f"{state.world.seed}: no {makes[0].__name__} task can be made out of {known}")
        planned.append(task)
    return tuple(planned)


class _Planner:
    """What the tasks of one scenario share: which kinds of steps were used, and which words."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.makers = steps.makers(state.world) | comparing.makers(state.world)
        self.used: Counter[str] = Counter()
        self.rng = random.Random(f"{state.world.seed}/tasks")  # noqa: S311 - seeded on purpose

    def next(self, rung: int, make: "Make", before: list[Planned]) -> Planned | None:
        """The next task of this make that is unlike the ones before."""
        for _ in range(_TRIES):
            dates = self.rng.choice(("day_first", "month_first", "day_first", "iso"))
            voice = Voice(self.state.world.currency, self.state.world.clock.date(), dates)
            found = make(self, voice)
            if found is None or not found:
                continue
            planned = _task(rung, found, self.rng, self.state.world.title)
            today = self.state.world.clock.date()
            if all(_unlike(planned, other) and not _confused(planned, other, today) for other in before):
                self.used.update(step.key for step in found)
                return planned
        return None

    def step(self, calls: Calls, voice: Voice, *kinds: str, avoid: tuple[str, ...] = ()) -> Step | None:
        """A step of one of these kinds, of a key that was used least."""
        keys = [key for key in self.makers if key.startswith(kinds) and key not in avoid]
        self.rng.shuffle(keys)
        for key in sorted(keys, key=lambda key: self.used[key]):
            step = self.makers[key](calls, self.rng, voice)
            if step is not None:
                return step
            self.used[key] += 1  # a kind that cannot be made is asked for less often
        return None

    def start(self) -> Calls:
        """No calls yet."""
        return Calls(self.state)


Make = Callable[[_Planner, Voice], list[Step] | None]


def _question(planner: _Planner, voice: Voice) -> list[Step] | None:
    step = planner.step(planner.start(), voice, "ask:", "look:")  # one of two rows could be guessed
    return [step] if step and len(step.calls.made) <= _EASY else None


def _small_change(planner: _Planner, voice: Voice) -> list[Step] | None:
    step = planner.step(planner.start(), voice, "act:", "update:", "delete:", "create:")
    return [step] if step and len(step.calls.made) <= _EASY else None


def _refusal(planner: _Planner, voice: Voice) -> list[Step] | None:
    step = _forbidden(planner, planner.start(), voice)
    return [step] if step else None


def _forbidden(planner: _Planner, calls: Calls, voice: Voice, avoid: frozenset[str] = frozenset()) -> Step | None:
    """Something that a rule forbids; where no rule can, and now and then, something that comes at the wrong time."""
    keys = [key for key in planner.makers if key.startswith(("act:", "create:")) and key not in avoid]
    planner.rng.shuffle(keys)
    by_state = planner.rng.random() < _UNTIMELY
    for way in (by_state, not by_state):
        for key in sorted(keys, key=lambda key: planner.used[f"refused:{key}"]):
            step = steps.refusal(calls, planner.rng, voice, key, by_state=way)
            if step is not None and len(step.calls.made) > len(calls.made):
                return step
    return None


def _either(planner: _Planner, voice: Voice) -> list[Step] | None:
    """One of two deeds, as a value stands that has to be looked up first."""
    condition = comparing.condition(planner.start(), planner.rng, voice)
    if condition is None:
        return None
    first = planner.step(condition.calls, voice, *_DEEDS)
    second = first and planner.step(condition.calls, voice, *_DEEDS, avoid=(first.key,))
    if first is None or second is None or len({condition.about, first.about, second.about}) < 3:
        return None
    step = comparing.either(condition, first, second)
    return [step] if len(step.calls.made) <= _MEDIUM else None


def _several(planner: _Planner, voice: Voice) -> list[Step] | None:
    step = planner.step(planner.start(), voice, "each:")
    return [step] if step and 3 <= len(step.calls.made) <= _MEDIUM else None


def _pair(planner: _Planner, voice: Voice) -> list[Step] | None:
    return _chain(planner, voice, 4, _MEDIUM, asks=False)


def _pair_and_question(planner: _Planner, voice: Voice) -> list[Step] | None:
    return _chain(planner, voice, 4, _MEDIUM, asks=True)


def _long(planner: _Planner, voice: Voice) -> list[Step] | None:
    return _chain(planner, voice, 9, 12, asks=False)


def _long_and_question(planner: _Planner, voice: Voice) -> list[Step] | None:
    return _chain(planner, voice, 9, 12, asks=True)


def _long_and_refusal(planner: _Planner, voice: Voice) -> list[Step] | None:
    """Several deeds, and then one that is turned down."""
    chain = _chain(planner, voice, 8, 11, asks=False)
    step = chain and _forbidden(planner, chain[-1].calls, voice, frozenset(step.key for step in chain))
    return [*chain, step] if chain and step and len(step.calls.made) <= 12 else None


_DEEDS = ("act:", "create:", "update:", "delete:")
_LADDER: tuple[tuple[Make, ...], ...] = (
    (_pair_and_question, _pair),
    (_question,),
    (_small_change, _pair),
    (_refusal,),
    (_either, _pair),
    (_several, _pair),
    (_long, _pair),
    (_long_and_question, _long, _pair_and_question),
    (_long_and_refusal, _long, _pair),
    (_long_and_question, _long, _pair_and_question),
)
"""For each task what is tried, the best first."""


def _chain(planner: _Planner, voice: Voice, least: int, most: int, *, asks: bool) -> list[Step] | None:
    """Several steps, one after the other, with about as many calls as are wanted; a question comes last."""
    calls = planner.start()
    chain: list[Step] = []
    for _ in range(_LINKS * 2):
        reserve = 1 if asks else 0
        if len(calls.made) >= least - reserve:
            break
        keys = tuple(step.key for step in chain)
        abouts = {step.about for step in chain}
        step = planner.step(calls, voice, "act:", "create:", "update:", "delete:", "each:", avoid=keys)
        if step is None or step.about in abouts or len(step.calls.made) > most - reserve:
            continue
        chain.append(step)
        calls = step.calls
    if asks:
        question = planner.step(calls, voice, "ask:", "which:")
        if question is None:
            return None
        chain.append(question)
        calls = question.calls
    return chain if least <= len(calls.made) <= most and len(chain) <= _LINKS else None


def _task(rung: int, chain: list[Step], rng: random.Random, place: str) -> Planned:
    last = chain[-1]
    calls = last.calls
    answer = last.answer
    number = len(calls.made)
    difficulty = "easy" if number <= _EASY else "medium" if number <= _MEDIUM else "hard"
    task = model.Task(
        id=f"task-{rung + 1:02d}",
        instruction=" ".join(_sentences(chain, rng, place)),
        split="test" if rung in (2, 5, 8) else "train",
        difficulty=difficulty,
        answer=answer.shown if answer else None,
        oracle=model.Oracle(calls=tuple(calls.made), answer=answer.source if answer else None),
    )
    return Planned(task, calls.state, answer)


def _sentences(chain: list[Step], rng: random.Random, place: str) -> Iterator[str]:
    """The steps in words; a task of one step says where, so that no other scenario has the same one."""
    refused = chain[-1].refused
    if len(chain) == 1:
        yield _alone(chain[0], rng, place)
        if refused:
            yield rng.choice(_IF_NOT)
        return
    *deeds, last = chain if chain[-1].answer else (*chain, None)
    clauses = [step.clause for step in deeds if step]
    joined = rng.randrange(1, len(clauses)) if len(clauses) > 1 and rng.random() < _JOINED else 0
    if joined:
        clauses[joined - 1 : joined + 1] = [rng.choice(_AND).format(*clauses[joined - 1 : joined + 1])]
    yield _polite(clauses[0], rng)
    for clause in clauses[1:]:
        yield phrasing.sentence(f"{rng.choice(_NEXT)} {clause}")
    if last and refused:
        yield phrasing.sentence(f"{rng.choice(_LAST)} {last.clause}")
        yield rng.choice(_IF_NOT_THIS)
    elif last:
        yield f"{rng.choice(_AFTER)} {phrasing.within(last.clause)}"


def _alone(step: Step, rng: random.Random, place: str) -> str:
    """The only step of a task; where it names nothing that sets it apart, it says which service it is about."""
    asks = step.answer is not None and not step.refused
    plain = step.key.startswith("ask:") or not any(mark in step.clause for mark in '"0123456789')
    where = rng.choice((*_WHERE, *_ASKING) if asks else _WHERE) if plain or rng.random() < _PLACED else ""
    where = where.format(f"the {place[4:]}" if place.startswith("The ") else place)
    plain_start = asks or step.key.startswith("either:")
    text = phrasing.sentence(step.clause) if plain_start else _polite(step.clause, rng)
    if where.endswith(": "):
        keeps = text.startswith("I ")
        return where + (text if keeps else text[:1].lower() + text[1:])
    return where + text


_JOINED = 0.4
_PLACED = 0.4
_WHERE = ("At {}: ", "This is about {}. ", "For {}: ")
_ASKING = ("I am asking about {}. ", "A question about {}: ")
_AND = ("{0}, and then {1}", "{0}, and {1}", "{0}, then {1}")
_IF_NOT = (
    "If that is not possible, change nothing and tell me why.",
    "Should that not be allowed, leave everything as it is and give me the reason.",
    "If the rules do not allow it, do nothing else and tell me the reason.",
)
_LAST = ("Last,", "Finally,", "And last,", "At the end,")
_IF_NOT_THIS = (
    "If this last part is not possible, leave it and tell me why.",
    "Should this last one not be allowed, do the rest only and give me the reason.",
    "If the rules do not allow this last one, skip it and tell me the reason.",
)
_NEXT = ("Then", "After that,", "Next,", "Also", "And", "Then please", "And please")
_AFTER = (
    "When that is done:",
    "After that, tell me:",
    "Once you have done so:",
    "And a question about how things stand then:",
    "Then I would like to know:",
)


def _polite(clause: str, rng: random.Random) -> str:
    start = rng.choice(("", "", "Please ", "Could you please ", "I need you to "))
    if start == "Could you please ":
        return f"{start}{clause}?"
    return phrasing.sentence(f"{start}{clause}")


def _unlike(planned: Planned, before: Planned) -> bool:
    first, second = planned.task.instruction, before.task.instruction
    return difflib.SequenceMatcher(None, first, second, autojunk=False).quick_ratio() < _ALIKE or (
        difflib.SequenceMatcher(None, first, second, autojunk=False).ratio() < _ALIKE
    )


def _confused(planned: Planned, before: Planned, today: date) -> bool:
    """Whether the answer of one task would do for the other, though it is another: `Alpha Two` for how many."""
    first, second = planned.answer, before.answer
    if first is None or second is None or first.shown == second.shown:
        return False
    return answers_text.accepts(first, today, second.shown) or answers_text.accepts(second, today, first.shown)
