"""Judges renew-week: the two loans of the week that nobody waits for are renewed once, and the third is named."""

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
    loans = {
        before["titles"][before["copies"][row["copy_id"]]["title_id"]]["title"]: row
        for row in before["loans"].values()
        if row["member_id"] == 1 and row["returned_on"] is None
    }
    wanted = {
        "bread_renewed": changed("loans", loans["Bread Without Hurry"], due_on="2026-03-26", renewals=1),
        "trains_renewed": changed("loans", loans["Slow Trains North"], due_on="2026-03-27", renewals=2),
    }
    renewed = ("Bread Without Hurry", "Slow Trains North")
    named = says(final_answer, "Maps of the Night Sky")
    # A report may say what was renewed; an answer that only lists all three titles may not pass.
    alone = not says(final_answer, *renewed) or says(
        final_answer, "renewed", "renewal", "renewals", "renew", "renewing", "extended", "prolonged", "now due"
    )
    return verdict(before, after, wanted, {"title_named": named and alone})
