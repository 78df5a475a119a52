"""Evidence for a judge: Otis Bell's appointments and charges, before and after."""

import sqlite3
import urllib.parse

QUERY = """
SELECT appointments.starts_at, services.name AS service, appointments.status, invoices.amount_cents AS charge
FROM appointments
JOIN patients ON patients.id = appointments.patient_id
JOIN services ON services.id = appointments.service_id
LEFT JOIN invoices ON invoices.appointment_id = appointments.id
WHERE patients.name = 'Otis Bell'
ORDER BY appointments.id
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
