"""An agent's run as files: its trajectory, and its databases before and after."""

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from awm_runtime import errors


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """What a run says of itself; what it does not say is None.

    Attributes:
        scenario: The scenario's name.
        task: The task's number.
        answer: The agent's final answer.
    """

    scenario: str | None = None
    task: int | None = None
    answer: str | None = None


def trajectory(folder: Path | None) -> Trajectory:
    """Reads `*trajectory*.json` in a run's folder.

    Raises:
        PermanentError: There is no such folder, or the file is broken.
    """
    if folder is None:
        return Trajectory()
    if not folder.is_dir():
        raise errors.PermanentError(f"{folder}: no such folder; --input takes the folder of an agent's run")
    path = next(iter(sorted(folder.glob("*trajectory*.json"))), None)
    said = _object(path) if path is not None else {}
    scenario = said.get("scenario")
    return Trajectory(
        scenario=scenario if isinstance(scenario, str) else None,
        task=_number(said.get("task_id", said.get("task_idx"))),
        answer=_text(said.get("final_answer", said.get("answer"))),
    )


def database(given: Path | None, folder: Path | None, which: str, flag: str) -> Path:
    """The file of the *initial* or the *final* database: the given one, or the one of a run's folder.

    Raises:
        PermanentError: There is none, or more than one.
    """
    pattern = f"*{which[:4]}*.db"
    found = [given] if given is not None else sorted(folder.glob(pattern)) if folder is not None else []
    if len(found) != 1:
        seen = f"{folder} holds {len(found)} files named {pattern}" if folder is not None else "none is given"
        raise errors.PermanentError(f"which is the {which} database? {seen}: name one with {flag}")
    return found[0]


def judgeable(database: Path, target: Path) -> Path:
    """Copies a database for a judge: one file, in DELETE mode. The original and its folder stay as they are.

    A run may have ended in WAL mode or in the middle of a transaction, so what stands beside the file comes with it.

    Raises:
        PermanentError: There is no such file, or it is no database.
    """
    if not database.is_file():
        raise errors.PermanentError(f"{database}: no such file")
    for suffix in ("", "-wal", "-journal"):
        part = database.with_name(database.name + suffix)
        if part.exists():
            shutil.copyfile(part, target.with_name(target.name + suffix))
    try:
        with closing(sqlite3.connect(target)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE").fetchone()
            [state] = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as exc:
        raise errors.PermanentError(f"{database}: not a usable SQLite database: {exc}") from exc
    if state != "ok":
        raise errors.PermanentError(f"{database}: a damaged SQLite database: {' '.join(state.split())}")
    return target


def _object(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as exc:
        raise errors.PermanentError(f"{path}:{exc.lineno}: broken JSON: {exc.msg} (column {exc.colno})") from exc
    except UnicodeDecodeError as exc:
        raise errors.PermanentError(f"{path}: not UTF-8 text") from exc
    except RecursionError as exc:
        raise errors.PermanentError(f"{path}: JSON nested too deeply") from exc
    return said if isinstance(said, dict) else {}


def _number(value: object) -> int | None:
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return value if isinstance(value, int) else None


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
