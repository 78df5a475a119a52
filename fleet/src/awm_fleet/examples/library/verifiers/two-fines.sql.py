"""Evidence for a judge: the member's fines, before and after."""

import sqlite3
import urllib.parse

QUERY = """
SELECT titles.title, fines.reason, fines.amount_cents, fines.status FROM fines
JOIN loans ON loans.id = fines.loan_id
JOIN copies ON copies.id = loans.copy_id
JOIN titles ON titles.id = copies.title_id
WHERE fines.member_id = 1
ORDER BY fines.id
"""


def rows(path):
    """What the query finds in a database."""
    connection = sqlite3.connect(f"file:{urllib.parse.quote(str(path))}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute(QUERY)]
    finally:
        connection.close()


def verify_task(initial_db_path, final_db_path):
    """The rows before and after, for a judge to decide on."""
    return {"before": rows(initial_db_path), "after": rows(final_db_path)}
