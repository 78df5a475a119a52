# ruff: noqa: E501 - a table
"""A blueprint with a mistake in it is refused with file, line and field."""

from pathlib import Path

import pytest

from awm_generator.builtin import checking, errors, reading
from awm_generator.builtin.compiler import weaving

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
    "a choice by what may be empty": ("where: \"status == 'reserved'\", highest: fee_cents", "where: \"purpose > 'a'\", highest: fee_cents", "entities.loan.selections.0.where", "may be empty"),
    "a choice by a sum": ("where: broken, count: true", "where: day_fee_cents > 2 * 100, count: true", "entities.tool.questions.0.where", "2 * 100 is not shown"),
    "a list that is none": ("where: broken, count: true", "where: kind in name, count: true", "entities.tool.questions.0.where", "name is no list"),
    "reckoning with what may be empty": ("require: days_until(starts_on) >= 2", "require: purpose + 'x' == 'x'", "entities.loan.actions.cancel.rules.0.require", "may be empty"),
    "a summary of nothing": ("    rows: 6..7\n    tools: [list, get]", "    rows: 6..7\n    tools: [list, get, summary]", "entities.workshop.tools.2", "a summary counts by"),
    "empty in a state though not optional": ('when: {returned: "-50..-8"}', "when: {returned: null}", "entities.loan.fields.starts_on.when.returned", "flag it optional"),
    "values in a state that there is not": ('when: {returned: "-50..-8"}', 'when: {lost: "-50..-8"}', "entities.loan.fields.starts_on.when.lost", "'lost' is no state"),
    "values by state of what is computed": ('set: "(days(starts_on, ends_on)', 'when: {reserved: 5..6}, set: "(days(starts_on, ends_on)', "entities.loan.fields.fee_cents.when", "computed with set"),
    "a day counted from what is no day": ("date after starts_on 1..6", "date after tool 1..6", "entities.loan.fields.ends_on", "stands above; there are starts_on"),
    "a pattern of a reference": ("purpose: text from loan_purposes, optional, edit", 'purpose: {is: "text, optional, edit", like: "for {tool}"}', "entities.loan.fields.purpose", "has no text of its own"),
    "a share of true that is none": ("broken: flag 15, filter", "broken: flag often, filter", "entities.tool.fields.broken", "in how many of a hundred"),
    "a state that there is not, in do": ("do: [member.deposit_cents -= fee_cents]", "do: [\"status = 'lost'\"]", "entities.loan.actions.collect.do.0", "'lost' is no state of loan"),
    "a field that there is not, in do": ("do: [member.deposit_cents -= fee_cents]", "do: [member.deposit -= fee_cents]", "entities.loan.actions.collect.do.0", "member has no field 'deposit'"),
    "a row where a number is due": ("do: [member.deposit_cents -= fee_cents]", "do: [fee_cents = tool]", "entities.loan.actions.collect.do.0", "tool is a row"),
    "another kind of row": ("do: [member.deposit_cents -= fee_cents]", "do: [tool = member]", "entities.loan.actions.collect.do.0", "a row of member; it has to be one of tool"),
    "a new row without a value": ("do: [member.deposit_cents -= fee_cents]", "do: [\"create('seat', member=member, own_tools=True)\"]", "entities.loan.actions.collect.do.0", "leaves workshop of the new seat empty"),
    "a row of its own kind that must be there": ("broken: flag 15, filter", "twin: ref tool", "entities.tool.fields.twin", "flag it optional"),
    "the same field twice": ("    plural: tools\n", "    plural: tools\n    plural: hammers\n", "entities.tool.plural", "stands twice"),
    "fewer values than rows": ("name: text from tool_names, unique, search", 'name: "text code T-#, unique, search"', "entities.tool.fields.name", "10 values for up to 12 rows"),
    "a list that nothing takes words from": ("vocabulary:\n", "vocabulary:\n  hammers: [A, B]\n", "vocabulary.hammers", "nothing takes words from this list"),
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


def test_a_mistake_in_a_module_is_named_as_its_file_names_it(
    blueprint_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = reading.shipped_modules()["reviews"].read_text("utf-8")
    broken = tmp_path / "reviews.yaml"
    broken.write_text(
        text.replace("    plural: <subject>_reviews", "    plural: <subject>_reviews\n    plurel: x"), "utf-8"
    )
    monkeypatch.setattr(reading, "shipped_modules", lambda: {"reviews": broken})
    weaving.module.cache_clear()
    with pytest.raises(errors.BlueprintError) as caught:
        weaving.attached(reading.blueprint(blueprint_file)[0], blueprint_file, "reviews", "tool")
    assert caught.value.place.field == "entities.<subject>_review.plurel"
    assert broken.read_text("utf-8").splitlines()[caught.value.place.line - 1].strip() == "plurel: x"


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
