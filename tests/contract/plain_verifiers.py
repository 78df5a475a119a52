"""An independent check of which verifiers reward nothing: `python plain_verifiers.py BUNDLE`. Nothing of ours is used.

Each `verifiers/TASK.code.py` is run on a database that is built with the standard library, as both the one before and
the one after, without an answer. Prints the tasks whose verifier says complete, as JSON.
"""

import json
import pathlib
import shutil
import sqlite3
import sys
import tempfile


def main(bundle):
    folder = pathlib.Path(tempfile.mkdtemp())
    initial, final = str(folder / "initial.db"), str(folder / "final.db")
    connection = sqlite3.connect(initial)
    for name in ("schema.sql", "seed.sql"):
        connection.executescript((bundle / name).read_text(encoding="utf-8"))
    connection.commit()
    connection.close()
    shutil.copyfile(initial, final)
    rewarding = []
    for path in sorted((bundle / "verifiers").glob("*.code.py")):
        module = {"__name__": "verifier"}
        exec(compile(path.read_text(encoding="utf-8"), path.name, "exec"), module)
        try:
            said = module["verify_task_completion"](initial, final, None)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, sqlite3.Error):
            continue  # many look up the row that the task is to make
        if said.get("result") == "complete":
            rewarding.append(path.name.removesuffix(".code.py"))
    print(json.dumps(rewarding))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
