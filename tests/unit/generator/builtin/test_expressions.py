"""The expressions of blueprints: what they come to, and that the emitted Python is the same."""

from datetime import timedelta
from pathlib import Path

import pytest

from awm_generator.builtin import reading
from awm_generator.builtin.compiler import expressions, operations, population, python_text, simulation, weaving
from awm_generator.builtin.compiler.simulation import Reference, Refused, Scope, State


@pytest.fixture
def state(blueprint_file: Path) -> State:
    return population.populate(weaving.weave(reading.blueprint(blueprint_file)[0], blueprint_file, 0, 7))


def loan(state: State, **values: object) -> Scope:
    row = {"id": 999, "member_id": 1, "tool_id": 1, "starts_on": "2030-01-01", "ends_on": "2030-01-04", **values}
    return Scope(state, "loan", row)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("days(starts_on, ends_on) + 1", 4),
        ("plus_days(ends_on, 3)", "2030-01-07"),
        ("day_of('2030-02-03T10:00:00Z')", "2030-02-03"),
        ("plus_minutes('2030-02-03T23:50:00Z', 20)", "2030-02-04T00:10:00Z"),
        ("starts_on < ends_on and not starts_on in ['2030-01-02']", True),
        ("7 if starts_on > ends_on else -7 // 2", -4),
        ("smaller(2, 3) * larger(2, 3) % 4", 2),
        ("member == me", True),
        ("purpose is None", True),
    ],
)
def test_an_expression_comes_to(text: str, value: object, state: State) -> None:
    assert simulation.evaluate(text, loan(state)) == value


def test_a_deadline_is_counted_from_the_clock(state: State) -> None:
    day = (state.world.clock + timedelta(days=3)).date().isoformat()
    assert simulation.evaluate("days_until(starts_on)", loan(state, starts_on=day)) == 3
    assert simulation.evaluate("hours_until(starts_on)", loan(state, starts_on=day)) == 62


def test_counting_leaves_the_row_itself_out(state: State) -> None:
    row = next(iter(state.tables["loan"].values()))
    everything = len(state.tables["loan"])
    assert simulation.evaluate("count('loan')", Scope(state, "loan", row)) == everything - 1
    assert simulation.evaluate("count('loan')", loan(state)) == everything


@pytest.mark.parametrize(
    "text", ["__import__('os')", "name.upper()", "[x for x in y]", "lambda: 1", "open('x')", "a; b"]
)
def test_what_is_no_part_of_the_language_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not part|unknown function|no expression"):
        expressions.parse(text)


def test_the_emitted_python_reads_like_a_handlers(state: State) -> None:
    names = python_text.Names(state.world, "loan", "loan", stored=True)
    rule = "count('loan', tool=tool, status=['reserved']) < 3"
    counted = 'count(session, Loan, Loan.tool_id == loan.tool.id, Loan.status.in_(["reserved"]), Loan.id != loan.id)'
    assert python_text.negated(rule, names) == f"{counted} >= 3"
    assert python_text.negated("not tool.broken", names) == "loan.tool.broken"
    assert python_text.message("The {tool.name} is lent.", names) == 'f"The {loan.tool.name} is lent."'
    assert (
        python_text.statement("member.deposit_cents -= fee_cents", names)
        == "loan.member.deposit_cents -= loan.fee_cents"
    )


def test_a_refused_operation_changes_nothing_and_gives_the_rule(state: State) -> None:
    state.tables["tool"][1]["broken"] = True
    before = state.copy().tables
    with pytest.raises(Refused, match="is broken") as caught:
        operations.create(
            state, "loan", {"tool": Reference("tool", 1), "starts_on": "2031-01-01", "ends_on": "2031-01-02"}
        )
    assert caught.value.reasons == ("broken", "repair")
    assert state.tables == before
