"""A task's verifier: the changes that it wants, nothing else changed, and the answer, compared after normalising."""

import re
from typing import Any

from awm_generator.builtin.compiler import answers_text, schema_text, worlds
from awm_generator.builtin.compiler.simulation import State
from awm_generator.builtin.compiler.tasks import Planned

_READING = '''import re
import sqlite3
import urllib.parse

RECORD_TIMES = {record_times}


def read(path):
    """All rows of all tables, by table name and id."""
    connection = sqlite3.connect(f"file:{{urllib.parse.quote(str(path))}}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    try:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        names = [row["name"] for row in tables]
        found = {{name: connection.execute(f'SELECT * FROM "{{name}}"').fetchall() for name in names}}
        return {{name: {{row["id"]: dict(row) for row in rows}} for name, rows in found.items()}}
    finally:
        connection.close()
'''

_COMPARING = '''
def changes(before, after):
    """What happened to the rows: (table, id, columns), with None for a row that is gone; times of record left out."""
    found = []
    for table in sorted(before.keys() | after.keys()):
        old, new = before.get(table, {}), after.get(table, {})
        found += [(table, key, None) for key in old if key not in new]
        for key, row in new.items():
            kept = {name: value for name, value in row.items() if name not in RECORD_TIMES and name != "id"}
            before_it = old.get(key, {})
            columns = {name: value for name, value in kept.items() if key not in old or before_it.get(name) != value}
            if columns:
                found.append((table, key, columns))
    return found


def judged(before, after):
    """Each wanted change by name with whether it is there, and whether nothing else changed.

    A new row may have any id; where a wanted row refers to a new one, its name stands in place of the id.
    """
    left, checks, new_ids = changes(before, after), {}, {}
    for name, (table, key, columns) in WANTED.items():
        wanted = columns and {
            column: new_ids.get(value[1]) if isinstance(value, tuple) else value for column, value in columns.items()
        }
        found = None
        for change in left:
            same_row = change[1] == key if key is not None else change[1] not in before.get(table, {})
            if change[0] == table and same_row and change[2] == wanted:
                found = change
                break
        checks[name] = found is not None
        if found is not None:
            left.remove(found)
            new_ids[name] = found[1]
    return checks, not left
'''

_VERDICT = '''
def verify_task_completion(initial_db_path, final_db_path, final_answer=None):
    """Complete when all that was wanted is there and nothing else changed; else a share of it."""
    checks, nothing_else = judged(read(initial_db_path), read(final_db_path))
{answer}    share = sum(checks.values()) / len(checks) if checks else 1.0
    checks["nothing_else_changed"] = nothing_else
    score = share if nothing_else else 0.0
    return {{"result": "complete" if score == 1.0 else "others", "checks": checks, "score": score}}
'''


def source(before: State, planned: Planned) -> str:
    """The text of a task's verifier in code mode."""
    wanted = wanted_changes(before, planned.after)
    about = "what was asked for, and nothing else" if wanted else "nothing at all"
    also = "; the answer is compared too" if planned.answer else ""
    head = f'"""Judges {planned.task.id}: the rows that change are {about}{also}."""\n\n'
    constants = [f"WANTED = {answers_text.python(wanted)}"]
    parts = [_READING.format(record_times=answers_text.python(sorted(record_times(before.world))))]
    answer = ""
    if planned.answer:
        more, functions = answers_text.code(planned.answer, before.world.clock.date())
        constants += more
        answer = '    checks["answer"] = answered(final_answer)\n'
        parts += functions
    code = head + parts[0].replace("\n\n\ndef read", "\n" + "\n".join(constants) + "\n\n\ndef read", 1)
    code = "\n".join([code, _COMPARING, *parts[1:], _VERDICT.format(answer=answer)])
    if " re." not in code and "(re." not in code:
        code = code.replace("import re\n", "", 1)
    return re.sub(r"\n{4,}", "\n\n\n", code)


def record_times(world: worlds.World) -> set[str]:
    """The columns that verifiers do not compare."""
    return {name for spec in world.entities.values() for name, field in spec.fields.items() if field.type == "stamp"}


def wanted_changes(before: State, after: State) -> dict[str, tuple[str, int | None, dict[str, Any] | None]]:
    """What must change, by name: (table, id or None for a new row, columns or None for a row that goes)."""
    wanted: dict[str, tuple[str, int | None, dict[str, Any] | None]] = {}
    exempt = record_times(before.world)
    new: dict[tuple[str, int], str] = {}
    for entity, spec in before.world.entities.items():
        old_rows, rows = before.tables.get(entity, {}), after.tables.get(entity, {})
        compared = [column for column in schema_text.columns_of(spec) if column not in exempt and column != "id"]
        for key in old_rows:
            if key not in rows:
                wanted[f"{spec.plural}_{key}_removed"] = (spec.plural, key, None)
        for key, row in rows.items():
            if key not in old_rows:
                name = f"{spec.plural}_added_{sum(1 for each in new if each[0] == entity) + 1}"
                wanted[name] = (spec.plural, None, _columns(before, entity, row, compared, new))
                new[entity, key] = name
                continue
            changed = [column for column in compared if row.get(column) != old_rows[key].get(column)]
            if changed:
                wanted[f"{spec.plural}_{key}_changed"] = (spec.plural, key, _columns(before, entity, row, changed, new))
    return wanted


def _columns(
    before: State, entity: str, row: dict[str, Any], columns: list[str], new: dict[tuple[str, int], str]
) -> dict[str, Any]:
    """The values of a row; the name of a new row in place of its id."""
    fields = before.world.entities[entity].fields
    found: dict[str, Any] = {}
    for column in columns:
        value = row.get(column)
        field = fields.get(column.removesuffix("_id"))
        if field is not None and field.type == "ref" and (str(field.to), value) in new:
            value = ("new", new[str(field.to), int(value or 0)])
        found[column] = int(value) if isinstance(value, bool) else value
    return found
