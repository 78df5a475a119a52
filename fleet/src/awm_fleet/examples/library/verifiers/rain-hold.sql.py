"""Evidence for a judge: the member's holds on Fourteen Days of Rain, before and after."""

import sqlite3
import urllib.parse

QUERY = """
SELECT holds.status, branches.name AS pickup_branch FROM holds
JOIN titles ON titles.id = holds.title_id
JOIN branches ON branches.id = holds.pickup_branch_id
WHERE holds.member_id = 1 AND titles.title = 'Fourteen Days of Rain'
ORDER BY holds.id
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
