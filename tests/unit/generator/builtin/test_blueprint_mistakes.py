# ruff: noqa: E501 - a table
"""A blueprint with a mistake in it is refused with file, line and field."""

from pathlib import Path

import pytest

from awm_generator.builtin import checking, errors

MISTAKES = {
    "a field with a typo": ("    plural: tools\n", "    plurel: tools\n", "entities.tool.plurel", "did you mean 'plural'?"),
    "an unknown flag": ("phone: text phone, edit", "phone: text phone, edt", "entities.member.fields.phone", "unknown flag 'edt'"),
    "an unknown type": ("broken: flag 15, filter", "broken: flagg 15", "entities.tool.fields.broken", "unknown type 'flagg'"),
    "an empty range": ("rows: 10..12", "rows: 12..10", "entities.tool.rows", "empty range"),
    "an unknown module": ("  calendar: []", "  calender: []", "attach.calender", "unknown module 'calender'"),
    "a module on nothing": ("  reviews: [tool]", "  reviews: []", "attach.reviews", "needs an entity"),
    "a module on an unknown entity": ("reviews: [tool]", "reviews: [hammer]", "attach.reviews", "unknown entity 'hammer'"),
    "an unknown reference": ("tool: ref tool, create, filter", "tool: ref hammer, create", "entities.loan.fields.tool", "'hammer', which is no entity"),
    "an unknown list of words": ("text from tool_names", "text from hammers", "entities.tool.fields.name", "no list 'hammers'"),
    "an unknown list in a title": ("{cities} Tool", "{towns} Tool", "titles.0", "no list 'towns'"),
    "an unknown state": ("to: collected", "to: collectd", "entities.loan.actions.collect.to", "'collectd' is no state"),
    "a state that cannot be left": ("final: [returned, cancelled]", "final: [returned]", "entities.loan.states", "'cancelled' cannot be left"),
    "an unknown name in a rule": ("require: not tool.broken", "require: not tool.brokn", "entities.loan.create.rules.1.require", "no field 'brokn'"),
    "no expression": ("require: starts_on >= today", "require: starts_on >=", "entities.loan.create.rules.0.require", "is no expression"),
    "an unknown function": ("days_until(starts_on) >= 2", "weeks_until(starts_on) >= 2", "entities.loan.actions.cancel.rules.0.require", "unknown function 'weeks_until'"),
    "counting in do": ("do: [member.deposit_cents -= fee_cents]", "do: [\"fee_cents = count('loan', tool=tool)\"]", "entities.loan.actions.collect.do.0", "not for do"),
    "words without an input": ("reserve {tool} for me from {starts_on} to {ends_on}", "reserve {tool} from {starts_on}", "entities.loan.create.say.0", "does not mention {ends_on}"),
    "words with an unknown input": ("cancel {it}", "cancel {loan}", "entities.loan.actions.cancel.say.0", "{loan} is no input"),
    "a name for all rows": ('it: the tool "{name}"', "it: the tool", "entities.tool.it", "names no field"),
    "no user": ("    user: true\n", "", "entities", "there is none"),
    "a word of the code": ("      kind: choice power*3|hand|garden, filter", "      order: choice power|hand", "entities.tool.fields.order", "word of the generated code"),
    "a question of two kinds": ("where: broken, count: true", "where: broken, count: true, total: day_fee_cents", "entities.tool.questions.0", "exactly one of"),
    "a choice by what is not shown": ("where: broken, count: true", 'where: "days(name, name) == 1", count: true', "entities.tool.questions.0.where", "not shown by the tools"),
    "the same field twice": ("    plural: tools\n", "    plural: tools\n    plural: hammers\n", "entities.tool.plural", "stands twice"),
    "no YAML": ("entities:\n", "entities: [\n", "YAML", "expected"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_file_line_and_field(mistake: str, blueprint_file: Path) -> None:
    right, wrong, field, complaint = MISTAKES[mistake]
    text = blueprint_file.read_text("utf-8")
    assert right in text
    blueprint_file.write_text(text.replace(right, wrong, 1), "utf-8")
    with pytest.raises(errors.BlueprintError) as caught:
        checking.check(blueprint_file)
    assert (caught.value.place.file, caught.value.place.field) == (blueprint_file, field)
    assert complaint in caught.value.complaint
    line = blueprint_file.read_text("utf-8").splitlines()[caught.value.place.line - 1]
    assert field in ("entities", "YAML") or wrong.strip().split("\n")[-1] in line


def test_rules_that_contradict_the_values_are_named(blueprint_file: Path) -> None:
    text = blueprint_file.read_text("utf-8")
    blueprint_file.write_text(text.replace("require: ends_on >= starts_on", "require: ends_on < starts_on"), "utf-8")
    with pytest.raises(errors.BlueprintError, match=r"loan.*ends_on < starts_on.*contradict"):
        checking.check(blueprint_file)


def test_a_create_tool_that_always_refuses_is_named(blueprint_file: Path) -> None:
    text = blueprint_file.read_text("utf-8")
    blueprint_file.write_text(text.replace("require: starts_on >= today", "require: starts_on < today"), "utf-8")
    with pytest.raises(errors.BlueprintError, match=r"loan\.create.*last one was refused: Loans cannot begin"):
        checking.check(blueprint_file)


def test_references_in_a_circle_are_named(blueprint_file: Path) -> None:
    text = blueprint_file.read_text("utf-8")
    circle = text.replace(
        "      phone: text phone, edit\n", "      phone: text phone, edit\n      favourite: ref loan, optional\n"
    )
    blueprint_file.write_text(circle, "utf-8")
    with pytest.raises(errors.BlueprintError, match="circle"):
        checking.check(blueprint_file)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(errors.BlueprintError, match=r"missing\.yaml:1: the file: cannot be read"):
        checking.check(tmp_path / "missing.yaml")
