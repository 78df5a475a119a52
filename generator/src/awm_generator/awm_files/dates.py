"""The clock of an import: when a scenario's tasks play."""

import re
import statistics
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time

DEFAULT = date(2026, 1, 1)
_HOUR = time(9, tzinfo=UTC)
_YEARS = range(1970, 2100)  # beyond these a date is a birthday or a slip
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_ISO = re.compile(r"(?<!\d)(\d{4})-(\d{2})-(\d{2})(?!\d)")
_WORDS = re.compile(rf"\b({'|'.join(_MONTHS)})[a-z]*\.? (\d{{1,2}})(?:st|nd|rd|th)?,? (\d{{4}})\b", re.IGNORECASE)


def clock(tasks: Iterable[str], seed: Iterable[str]) -> datetime:
    """The median of the dates that the task texts name, else of the seed's, else 2026-01-01; always at 09:00 UTC."""
    dates = sorted(_dates(tasks)) or sorted(_dates(seed)) or [DEFAULT]
    return datetime.combine(statistics.median_low(dates), _HOUR)


def _dates(texts: Iterable[str]) -> Iterator[date]:
    for text in texts:
        for year, month, day in _ISO.findall(text):
            yield from _date(int(year), int(month), int(day))
        for word, day, year in _WORDS.findall(text):
            yield from _date(int(year), _MONTHS.index(word[:3].lower()) + 1, int(day))


def _date(year: int, month: int, day: int) -> Iterator[date]:
    if year in _YEARS:
        try:
            yield date(year, month, day)
        except ValueError:
            return
