"""How an answer is compared: what a verifier says of it in its code, by kind of answer."""

import pprint
import re
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

from awm_generator.builtin.compiler import phrasing
from awm_generator.builtin.compiler.steps import Answer

_WORDS = '''
def plain(text):
    """A text in lower case, its words with single spaces around them."""
    words = re.sub(r"(?<=\\d)[TZ](?=\\d|\\b)", " ", str(text or ""))
    parts = re.findall(r"[^\\W_]+(?:[.,:-]?[^\\W_]+)*", words.casefold())
    return f" {' '.join(parts)} "
'''

_ANSWERS = {
    "reason": '''
def answered(answer):
    """Whether the answer gives the reason, in one of these words."""
    return any(plain(phrase) in plain(answer) for phrase in REASONS)
''',
    "text": '''
def answered(answer):
    """Whether the answer names what is wanted, and none of the others before it."""
    text = plain(answer)
    place = text.find(plain(NAME))
    return place >= 0 and all(plain(other) not in text[: place + 1] for other in OTHERS)
''',
    "date": '''
def answered(answer):
    """Whether the answer names the day, in one of the ways to write it."""
    return any(plain(form) in plain(answer) for form in DAY)
''',
    "number": '''
def answered(answer):
    """Whether the number that is wanted is the first or the last one in the answer; days and times do not count."""
    text = re.sub(r"\\d{4}-\\d{2}-\\d{2}(?:[T ]\\d{2}:\\d{2}(?::\\d{2})?Z?)?", " ", str(answer or "").casefold())
    found = [float(number.replace(",", "")) for number in re.findall(r"(?<![\\w.])\\d[\\d,]*(?:\\.\\d+)?", text)]
    if not found:
        found = [float(IN_WORDS.index(word)) for word in re.findall(r"[a-z]+", text) if word in IN_WORDS]
    return bool(found) and any(abs(number - wanted) < 0.005 for number in (found[0], found[-1]) for wanted in NUMBERS)
''',
}

_IN_WORDS = """IN_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"
)"""


def code(answer: Answer, today: date) -> tuple[list[str], list[str]]:
    """The constants and the functions of a verifier that compare an answer, the last of them `answered`."""
    kind, constants = _constants(answer, today)
    return constants, [*([] if kind == "number" else [_WORDS]), _ANSWERS[kind]]


def accepts(answer: Answer, today: date, said: str) -> bool:
    """Whether a verifier that waits for an answer takes what is said for it."""
    constants, functions = code(answer, today)
    module: dict[str, Any] = {}
    exec("\n".join(["import re", *constants, *functions]), module)  # noqa: S102 - our own compiler's text
    return bool(module["answered"](said))


def _constants(answer: Answer, today: date) -> tuple[str, list[str]]:
    match answer.kind:
        case "reason":
            return "reason", [f"REASONS = {python(tuple(_spelled(answer.value)))}"]
        case "text":
            return "text", [f"NAME = {python(answer.value)}", f"OTHERS = {python(answer.others)}"]
        case "date":
            return "date", [f"DAY = {python(day_forms(answer.value, today))}"]
        case "money":
            return "number", [f"NUMBERS = {python((answer.value, answer.value / 100))}", _IN_WORDS]
    return "number", [f"NUMBERS = {python((answer.value,))}", _IN_WORDS]


def _spelled(reasons: Iterable[str]) -> Iterator[str]:
    """The phrases, and with each number the way in which tools write amounts."""
    for each in reasons:
        yield each
        if re.fullmatch(r"[\d,]+", each):
            yield f"{each}.00"


def day_forms(text: str, today: date) -> tuple[str, ...]:
    """The ways to write a day; far from today only those that say the year."""
    day = date.fromisoformat(text)
    number, name = day.day, phrasing.MONTHS[day.month - 1]
    ending = "th" if 10 <= number <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    days = (str(number), f"{number:02d}", f"{number}{ending}")
    forms = [f"{each} {word}" for each in days for word in (name, name[:3])]
    forms += [f"{word} {each}" for each in days for word in (name, name[:3])]
    forms.append(f"{number}{ending} of {name}")
    if phrasing.is_far(day, today):
        return (text, *(f"{form} {day.year}" for form in forms), f"{number}.{day.month}.{day.year}")
    return (text, *forms, f"the {number}{ending}", f"{number}.{day.month}.{day.year}")


def python(value: Any) -> str:
    """A value as it stands in a verifier."""
    return pprint.pformat(value, width=110, sort_dicts=False)
