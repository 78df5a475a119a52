"""How the compiler says things."""

from datetime import date

import pytest

from awm_generator.builtin import language, reading
from awm_generator.builtin.compiler import answers_text, describing, phrasing, steps, weaving, worlds

VOICE = phrasing.Voice("$", date(2026, 3, 2), "day_first")


@pytest.mark.parametrize(
    ("template", "words", "text"),
    [
        ("for {n} people", {"n": "1"}, "for 1 person"),
        ("for {n} people", {"n": "11"}, "for 11 people"),
        ("{n} entries and {m} boxes", {"n": "1", "m": "2"}, "1 entry and 2 boxes"),
        ("{n} classes", {"n": "1"}, "1 class"),
        ("enrol {n} of us", {"n": "1"}, "enrol 1 of us"),
        ("day {n} is free", {"n": "1"}, "day 1 is free"),
        ("for Ann: a {thing}", {"thing": "accordion"}, "for Ann: an accordion"),
        ("an {thing} each", {"thing": "harp"}, "a harp each"),
    ],
)
def test_the_words_in_a_text_fit_into_it(template: str, words: dict[str, str], text: str) -> None:
    assert phrasing.filled(template, words) == text


def test_what_is_counted_is_changed_and_asked_for_as_a_number() -> None:
    pages, level = language.Field(type="integer"), language.Field(type="integer", label="reorder level")
    assert phrasing.changed(pages, "pages", "the report", "7") == "change the number of pages of the report to 7"
    assert phrasing.changed(level, "level", "the rope", "7") == "change the reorder level of the rope to 7"
    assert phrasing.asked(pages, "pages", "the report") == "how many pages does the report have?"
    assert phrasing.asked(level, "level", "the rope") == "what is the reorder level of the rope?"


@pytest.mark.parametrize(
    ("label", "counts"),
    [("parking spaces", True), ("places in all", True), ("months of commitment", True), ("terms in days", False),
     ("extra time in minutes", False), ("reorder level", False), ("class", False)],
)  # fmt: skip
def test_a_number_is_of_what_its_label_counts(label: str, counts: bool) -> None:
    assert phrasing.is_number_of(language.Field(type="integer"), label) is counts


def test_a_question_goes_on_in_a_sentence_in_lower_case() -> None:
    assert phrasing.within("Of how many stems are 40 or fewer left?") == "of how many stems are 40 or fewer left?"
    assert phrasing.within("Ottilie Fox asks") == "Ottilie Fox asks"


@pytest.mark.parametrize(
    ("blueprint", "tool", "summary"),
    [
        ("crowdfunding", "cancel_pledge", "Cancel a pledge"),
        ("crowdfunding", "ask_refund_pledge", "Ask for a refund of a pledge"),
        ("campsite", "collect_dues_camper", "Take an amount from a camper towards what they owe"),
        ("campsite", "book_booking", "Make a booking"),
        ("exam_centre", "record_mark_entry", "Record mark: an entry"),
    ],
)
def test_a_tools_summary_says_what_it_does_as_people_would(blueprint: str, tool: str, summary: str) -> None:
    file = reading.shipped_blueprints()[blueprint]
    worlds_of = (weaving.weave(reading.blueprint(file)[0], file, variant, 7) for variant in range(4))
    said = {describing.summary(world, each) for world in worlds_of for each in world.tools if each.name == tool}
    assert said == {summary}


def test_flags_are_said_in_their_own_words() -> None:
    insured = language.Field(type="flag", words=("insured", "not insured"))
    plain = language.Field(type="flag", label="leave at the door")
    assert phrasing.changed(insured, "insured", "the cat", VOICE.value(insured, value=False)) == (
        "mark the cat as not insured"
    )
    assert phrasing.changed(plain, "doorstep", "the address", VOICE.value(plain, value=True)) == (
        "set leave at the door to yes for the address"
    )


@pytest.mark.parametrize(
    ("day", "said"), [("2026-08-20", "20 August"), ("2027-01-20", "20 January 2027"), ("1986-03-14", "14 March 1986")]
)
def test_a_day_far_from_today_is_said_with_its_year(day: str, said: str) -> None:
    assert VOICE.day(day) == said


def test_an_answer_far_from_today_has_to_say_the_year() -> None:
    assert "14 March" in answers_text.day_forms("2026-03-14", VOICE.today)
    assert "14 March" not in answers_text.day_forms("1986-03-14", VOICE.today)
    assert "March 14 1986" in answers_text.day_forms("1986-03-14", VOICE.today)


def test_an_answer_that_another_task_would_take_is_seen() -> None:
    two = steps.Answer("count", 2, None, "2")
    assert answers_text.accepts(two, VOICE.today, "There are two drafts.")
    assert answers_text.accepts(two, VOICE.today, "Alpha Two")
    assert not answers_text.accepts(two, VOICE.today, "Alpha Three")
    name = steps.Answer("text", "Alpha Two", None, "Alpha Two", ("Bravo One",))
    assert not answers_text.accepts(name, VOICE.today, "2")


@pytest.mark.parametrize(
    ("word", "article"),
    [
        ("order line", "an"),
        ("boat", "a"),
        ("user", "a"),
        ("umbrella", "an"),
        ("hour", "an"),
        ("unit", "a"),
        ("one", "a"),
    ],
)
def test_a_word_has_the_article_that_its_sound_wants(word: str, article: str) -> None:
    assert worlds.article(word) == article
