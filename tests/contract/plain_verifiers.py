"""An independent check of which verifiers reward nothing: `python plain_verifiers.py BUNDLE`. Nothing of ours is used.

Each `verifiers/TASK.code.py` is run on a database that is built with the standard library, as both the one before and
the one after, without an answer. Prints the tasks whose verifier says complete, as JSON.
"""

import json
import os
import shutil
import sqlite3
import sys
import tempfile


def main(bundle):
    folder = tempfile.mkdtemp()
    initial, final = os.path.join(folder, "initial.db"), os.path.join(folder, "final.db")
    connection = sqlite3.connect(initial)
    for name in ("schema.sql", "seed.sql"):
        connection.executescript(open(os.path.join(bundle, name), encoding="utf-8").read())
    connection.commit()
    connection.close()
    shutil.copyfile(initial, final)
    rewarding = []
    for name in sorted(os.listdir(os.path.join(bundle, "verifiers"))):
        task, _, kind = name.removesuffix(".py").rpartition(".")
        if kind != "code":
            continue
        module = {"__name__": "verifier"}
        exec(compile(open(os.path.join(bundle, "verifiers", name), encoding="utf-8").read(), name, "exec"), module)
        try:
            said = module["verify_task_completion"](initial, final, None)
        except Exception:
            continue
        if said.get("result") == "complete":
            rewarding.append(task)
    print(json.dumps(rewarding))


if __name__ == "__main__":
    main(sys.argv[1])
