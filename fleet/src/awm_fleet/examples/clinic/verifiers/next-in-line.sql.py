"""Evidence for a judge: Tuesday's appointments and the waiting list for check-ups, before and after."""

import sqlite3
import urllib.parse

QUERY = """
SELECT 'appointment' AS kind, patients.name AS patient, appointments.starts_at AS day, appointments.status
FROM appointments
JOIN patients ON patients.id = appointments.patient_id
WHERE appointments.starts_at LIKE '2026-03-03%'
UNION ALL
SELECT 'waiting list', patients.name, waitlist_entries.earliest_on, waitlist_entries.status FROM waitlist_entries
JOIN patients ON patients.id = waitlist_entries.patient_id
JOIN services ON services.id = waitlist_entries.service_id
WHERE services.name = 'General check-up'
ORDER BY 1, 3, 2
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
