"""Judges next-due: the first loan that is due is named with its day, and nothing changed."""

import re
import sqlite3
import urllib.parse

RECORD_TIMES = {"created_at", "updated_at"}


def read(path):
    """All rows of all tables, by table name and id."""
    connection = sqlite3.connect(f"file:{urllib.parse.quote(str(path))}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    try:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        names = [row["name"] for row in tables]
        return {name: {row["id"]: dict(row) for row in connection.execute(f'SELECT * FROM "{name}"')} for name in names}
    finally:
        connection.close()


def find(tables, table, **values):
    """The one row of a table that has these values."""
    (row,) = (row for row in tables[table].values() if all(row[name] == value for name, value in values.items()))
    return row


def added(table, **values):
    """A wanted change: a new row with exactly these values, whatever its id."""
    return table, "added", tuple(sorted(values.items()))


def changed(table, row, **values):
    """A wanted change: these columns of a row, and no others, have new values."""
    return table, row["id"], tuple(sorted(values.items()))


def changes(before, after):
    """What happened to the rows, in the form of `added` and `changed`; times of record do not count."""
    found = []
    for table in sorted(before.keys() | after.keys()):
        old, new = before.get(table, {}), after.get(table, {})
        found += [(table, "removed", key) for key in old.keys() - new.keys()]
        for key, row in new.items():
            kept = {name: value for name, value in row.items() if name not in RECORD_TIMES}
            if key not in old:
                found.append(added(table, **{name: value for name, value in kept.items() if name != "id"}))
                continue
            differing = {name: value for name, value in kept.items() if old[key].get(name) != value}
            if differing:
                found.append(changed(table, row, **differing))
    return found


def says(answer, *phrases):
    """Whether the answer has one of the phrases, as whole words, whatever its case and punctuation."""
    return any(f" {_plain(phrase)} " in f" {_plain(answer)} " for phrase in phrases)


def _plain(text):
    words = re.sub(r"(?<=\d)[TZ](?=\d|\b)", " ", str(text or ""))  # the T and Z of 2026-03-02T09:00:00Z
    return " ".join(re.findall(r"\w+(?:\.\d+)?", words.casefold()))


def verdict(before, after, wanted=None, answers=None):
    """Complete when all wanted changes and answers are there and nothing else changed; else a share of them."""
    wanted, left = wanted or {}, changes(before, after)
    checks = dict(answers or {})
    for name, change in wanted.items():
        checks[name] = change in left
        if checks[name]:
            left.remove(change)
    share = sum(checks.values()) / len(checks)
    checks["nothing_else_changed"] = not left
    score = 0.0 if left else share
    return {"result": "complete" if score == 1.0 else "others", "checks": checks, "score": score}


def verify_task_completion(initial_db_path, final_db_path, final_answer=None):
    """Compares the databases before and after, and the answer."""
    before, after = read(initial_db_path), read(final_db_path)
    others = ("Maps of the Night Sky", "Slow Trains North", "How Bridges Stand", "One Pot, Four Seasons")
    answers = {
        "title_named": names_first(final_answer, "Bread Without Hurry", others),
        "day_named": says(final_answer, "2026-03-05", "5 March", "March 5", "5 Mar", "Mar 5", "March 05", "the 5th")
        or says(final_answer, "5th of March", "March 5th", "5th March"),
    }
    return verdict(before, after, answers=answers)


def names_first(answer, wanted, others):
    """Whether the answer names what is wanted, and none of the others before it."""
    plain = f" {_plain(answer)} "
    place = plain.find(f" {_plain(wanted)} ")
    return place >= 0 and all(plain.find(f" {_plain(other)} ", 0, place) < 0 for other in others)
