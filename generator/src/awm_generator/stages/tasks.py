"""The task stage: what users of a scenario would have done for them."""

from awm_generator import prompts
from awm_generator.awm_files import rows
from awm_generator.stages import asking, row_files
from awm_runtime import names

_SHORTEST = 15
_LONGEST = 2000


class _Tasks(asking.Reply):
    tasks: tuple[str, ...]


async def generate(scenario: rows.ScenarioRow, session: asking.Session, *, count: int) -> rows.TasksRow:
    """The tasks of a scenario.

    Raises:
        Quarantined: no reply held.
    """
    brief = row_files.carried(scenario, "brief")
    messages = prompts.conversation(
        "task",
        title=scenario.scenario,
        description=scenario.description,
        brief=wished(brief),
        count=count,
        reading=max(1, count // 4) if count > 1 else 0,
    )

    async def attempt(text: str) -> tuple[str, ...]:
        return _checked(asking.parsed(text, _Tasks).tasks, count)

    texts = await session.settle(messages, attempt, shape=asking.shape(_Tasks))
    carried = {"brief": brief} if brief else {}
    return rows.TasksRow(scenario=scenario.scenario, tasks=texts, **carried)


def wished(brief: object) -> str:
    """What a brief adds to a prompt."""
    return f"\nWhat its author asked for:\n\n{brief}\n" if brief else ""


def _checked(texts: tuple[str, ...], count: int) -> tuple[str, ...]:
    tasks = tuple(text.strip() for text in texts)
    problems = [
        f"task {number} is too short to be done: {text!r}" for number, text in enumerate(tasks) if len(text) < _SHORTEST
    ]
    problems += [
        f"task {number} has {len(text)} characters" for number, text in enumerate(tasks) if len(text) > _LONGEST
    ]
    seen: dict[str, int] = {}
    for number, text in enumerate(tasks):
        earlier = seen.setdefault(names.normalise(text), number)
        if earlier != number:
            problems.append(f"task {number} is the same as task {earlier}")
    if len(tasks) < count:
        problems.append(f"there are {len(tasks)} tasks, and {count} are wanted")
    if problems:
        raise asking.Broken(asking.summary("The tasks do not do", problems))
    return tasks[:count]
