"""The oracle stage in real episodes: what is proven, and what is mended when a proof fails."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from awm_fleet import examples
from awm_generator.awm_files import exporting, rows, solutions
from awm_generator.double import jobs, scripts
from awm_generator.model import language, scripted
from awm_generator.stages import asking, databases, outcomes, proving, solving, trials
from awm_runtime.bundle import reading


class World:
    """The first tasks of the example `clinic`, and a model that solves them unless it is told otherwise."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.told: dict[str, list[str]] = {}
        self._script = scripts.Scripts(scripts.load([examples.path("clinic")]))
        self.model = scripted.ScriptedModel(self._answer)
        self.originals = exporting.as_rows(reading.read(examples.path("clinic")))
        self.originals.verifiers = [each for each in self.originals.verifiers if each.task_idx < keep]
        row = self.tasks
        self.originals.single["gen_tasks.jsonl"] = row.model_copy(update={"tasks": row.tasks[:keep]})
        self.file = folder / "clinic.db"
        schema, sample = self.originals.row(rows.DbRow), self.originals.row(rows.SampleRow)
        assert schema is not None
        databases.built(schema, sample, databases.clock(self.tasks), self.file)

    @property
    def tasks(self) -> rows.TasksRow:
        row = self.originals.row(rows.TasksRow)
        assert row is not None
        return row

    def asked(self, kind: str) -> list[language.Request]:
        return [request for request in self.model.requests if f"AWM job: {kind}\n" in request.messages[0].content]

    def verifier(self, number: int) -> str:
        return next(
            each.verification.code or ""
            for each in self.originals.verifiers
            if each.task_idx == number and "verify_task_completion" in (each.verification.code or "")
        )

    async def solved(self, *, max_retry: int = 2, level: proving.Level = "none") -> outcomes.Outcome:
        session = asking.Session(model=self.model, stage="oracle", scenario="clinic", max_retry=max_retry)
        async with trials.Trials() as ran:
            gates = proving.Gates(self.originals, ran, level)
            return await solving.Solver(self.originals, session, ran, gates, file=self.file).solve()

    def _answer(self, request: language.Request) -> str:
        job = jobs.recognised([{"role": each.role, "content": each.content} for each in request.messages])
        told = self.told.get(job.kind)
        return told.pop(0) if told else self._script.answer(job)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, 2)


def solve(world: World, **options: Any) -> tuple[rows.OracleRow, tuple[outcomes.Casualty, ...]]:
    outcome = asyncio.run(world.solved(**options))
    [row] = outcome.rows
    assert isinstance(row, rows.OracleRow)
    return row, outcome.casualties


def test_tasks_are_solved_in_episodes_and_judged(world: World) -> None:
    row, lost = solve(world)
    assert [each.task_idx for each in row.oracles] == [0, 1]
    assert lost == ()
    assert row.repairs == rows.Repairs()
    assert len(world.asked("oracle")) == 2


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ({"calls": [{"tool": "no_such_tool"}], "answer": None}, "there is no such tool"),
        ({"calls": [], "answer": {"$from": "found.id"}}, "reads 'found', which no earlier call saves"),
        ({"calls": [], "answer": None}, "neither a call nor an answer"),
    ],
)
def test_calls_that_cannot_be_made_are_mended_before_they_are_played(
    reply: dict[str, Any], said: str, world: World
) -> None:
    world.told["oracle"] = [json.dumps(reply)]
    row, lost = solve(world)
    assert (len(row.oracles), lost) == (2, ())
    assert said in world.asked("oracle")[1].messages[-1].content


def test_wrong_calls_are_shown_what_came_of_them_and_mended(world: World) -> None:
    world.told["oracle"] = [json.dumps({"calls": [{"tool": "list_services", "arguments": {}}], "answer": "Nothing."})]
    row, lost = solve(world)
    assert (len(row.oracles), lost) == (2, ())
    [request] = world.asked("oracle_repair")
    evidence = request.messages[-1].content
    assert "1. list_services({}) ->" in evidence
    assert "rows that changed: none" in evidence
    assert "the verifier says: others" in evidence


LENIENT = """
def verify_task_completion(initial_db_path, final_db_path, final_answer=None):
    same = open(initial_db_path, "rb").read() == open(final_db_path, "rb").read()
    return {"result": "others" if same else "complete"}
"""


def test_a_verifier_that_near_misses_pass_is_shown_one_and_replaced(world: World) -> None:
    right = world.verifier(0)
    _replace(world, 0, LENIENT)
    row, lost = solve(world, level="semantic")
    assert (len(row.oracles), lost) == (2, ())
    assert row.repairs.verifiers == {0: right.strip() + "\n"}
    [request] = world.asked("verifier_code")
    problem = request.messages[-1].content
    assert "The verifier judges wrongly" in problem
    assert "semantic.mutants: 0: complete, though " in problem
    assert 'verdict: {"result": "complete"}' in problem


def test_a_verifier_that_near_misses_go_on_passing_is_said_so(world: World) -> None:
    _replace(world, 0, LENIENT)
    world.told["verifier_code"] = [f"```python{LENIENT}```"] * 9
    row, lost = solve(world, level="semantic", max_retry=1)
    assert len(row.oracles) == 2
    [casualty] = lost
    assert casualty.subject == "verifier 0"
    assert casualty.reason.startswith("semantic.")


def test_a_verifier_that_refuses_a_right_solution_is_replaced(world: World) -> None:
    right = world.verifier(0)
    strict = "def verify_task_completion(i, f, a=None):\n    return {'result': 'others'}\n"
    _replace(world, 0, strict)
    solution = json.loads(_oracle(world, 0))
    world.told["oracle_repair"] = [
        json.dumps({"blame": "verifier", "reason": "it never accepts", "replacement": right, **solution})
    ]
    row, lost = solve(world)
    assert (len(row.oracles), lost) == (2, ())
    assert row.repairs.verifiers == {0: right.strip() + "\n"}
    mended = solutions.applied(rows.with_oracles(world.originals, row))
    assert [each.verification.code for each in mended.verifiers if each.task_idx == 0] == [right.strip() + "\n"]


def test_a_replacement_that_rewards_doing_nothing_is_refused(world: World) -> None:
    _replace(world, 0, "def verify_task_completion(i, f, a=None):\n    return {'result': 'others'}\n")
    lax = "def verify_task_completion(i, f, a=None):\n    return {'result': 'complete'}\n"
    blame = {"blame": "verifier", "reason": "x", "replacement": lax, **json.loads(_oracle(world, 0))}
    world.told["oracle_repair"] = [json.dumps(blame)] * 9
    row, lost = solve(world, max_retry=1)
    assert [each.task_idx for each in row.oracles] == [1]
    [casualty] = lost
    assert "doing nothing is rewarded" in casualty.detail


def test_a_task_that_cannot_be_done_gets_another_text_and_verifier(world: World) -> None:
    right = world.verifier(0)
    _replace(world, 0, "def verify_task_completion(i, f, a=None):\n    return {'result': 'others'}\n")
    blame = {"blame": "task", "reason": "two outcomes", "replacement": "A clearer text of the task."}
    world.told["oracle_repair"] = [json.dumps({**blame, **json.loads(_oracle(world, 0))})]
    world.told["verifier_code"] = [f"```python\n{right}```"]
    row, lost = solve(world)
    assert (len(row.oracles), lost) == (2, ())
    assert row.repairs.tasks == {0: "A clearer text of the task."}
    mended = solutions.applied(rows.with_oracles(world.originals, row)).row(rows.TasksRow)
    assert mended is not None
    assert mended.tasks[0] == "A clearer text of the task."


def test_code_that_breaks_its_specification_is_written_anew(world: World) -> None:
    env = world.originals.row(rows.EnvRow)
    assert env is not None
    right = env.full_code
    # The tool that the first task's solution needs fails in the code as it is.
    calls = json.loads(_oracle(world, 0))["calls"]
    wrong = _failing(right, calls[0]["tool"])
    world.originals.single["gen_envs.jsonl"] = env.model_copy(update={"full_code": wrong})
    blame = {"blame": "code", "reason": "it fails", "replacement": f"{calls[0]['tool']} has to answer.", "calls": []}
    world.told["oracle_repair"] = [json.dumps({**blame, "answer": "x"})]
    row, lost = solve(world)
    assert (len(row.oracles), lost) == (2, ())
    assert row.repairs.full_code == right.strip() + "\n"
    [request] = world.asked("env")
    assert f"{calls[0]['tool']} has to answer." in request.messages[-1].content


def test_what_stays_unsolved_is_left_out_with_what_was_seen(world: World) -> None:
    world.told["oracle"] = [json.dumps({"calls": [], "answer": "Forty-two."})]
    world.told["oracle_repair"] = [
        json.dumps({"blame": "calls", "reason": "?", "replacement": "", "calls": [], "answer": "Forty-three."})
    ] * 9
    row, lost = solve(world, max_retry=1)
    assert [each.task_idx for each in row.oracles] == [1]
    [casualty] = lost
    assert casualty.subject == "task 0"
    assert "no solution was accepted: the verifier says: others" in casualty.reason


def test_a_task_without_a_verifier_is_left_out(world: World) -> None:
    world.originals.verifiers = [each for each in world.originals.verifiers if each.task_idx != 1]
    row, lost = solve(world)
    assert [each.task_idx for each in row.oracles] == [0]
    assert lost[0].reason == "it has no code mode verifier to be judged by"


def test_code_that_cannot_be_served_is_quarantined(world: World) -> None:
    env = world.originals.row(rows.EnvRow)
    assert env is not None
    world.originals.single["gen_envs.jsonl"] = env.model_copy(update={"full_code": "import nothing_of_the_kind\n"})
    with pytest.raises(outcomes.Quarantined, match="does not import"):
        solve(world)


def _oracle(world: World, number: int) -> str:
    task = reading.read(examples.path("clinic")).tasks[number]
    assert task.oracle is not None
    return json.dumps(task.oracle.model_dump(mode="json", exclude_none=True) | {"answer": task.oracle.answer})


def _replace(world: World, number: int, source: str) -> None:
    world.originals.verifiers = [
        each.model_copy(update={"verification": rows.Verification(code=source)})
        if each.task_idx == number and "verify_task_completion" in (each.verification.code or "")
        else each
        for each in world.originals.verifiers
    ]


def _failing(code: str, operation: str) -> str:
    """`code` whose one operation ends in a 500."""
    lines = code.splitlines()
    heads = (f"def {operation}(", f"async def {operation}(")
    start = next(number for number, line in enumerate(lines) if line.startswith(heads))
    end = next(number for number in range(start, len(lines)) if lines[number].rstrip().endswith(":"))
    return "\n".join([*lines[: end + 1], "    raise RuntimeError('broken')", *lines[end + 1 :]]) + "\n"
