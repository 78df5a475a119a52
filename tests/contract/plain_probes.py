"""An independent check of the gates' counts, with nothing of ours: `python plain_probes.py CODE SCHEMA SEED`.

Runs a scenario's environment.py as it is under uvicorn, on a database that is built with the standard library, and
sends the five probes of the documented recipe (docs/gates.md) to each operation of its OpenAPI document. After each
probe the rows are put back. Prints the operations that answered one of them with 5xx, as JSON.
"""

import importlib.util
import json
import os
import pathlib
import sqlite3
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

DATE, MOMENT = "2026-01-15", "2026-01-15T10:00:00Z"
VALUES = {
    "existing": {"integer": 1, "number": 1, "boolean": True, "string": "test"},
    "missing": {"integer": 999999, "number": 999999, "boolean": True, "string": "no-such-thing"},
    "negative": {"integer": -1, "number": -1, "boolean": False, "string": ""},
    "required": {"integer": 1, "number": 1, "boolean": True, "string": "test"},
    "garbage": {"integer": "garbage", "number": "garbage", "boolean": "garbage", "string": "%_'; --\u2603"},
}
METHODS = ("get", "post", "put", "patch", "delete")


def build(path, *scripts):
    connection = sqlite3.connect(path)
    for script in scripts:
        connection.executescript(script)
    connection.commit()
    connection.close()


def tables(connection):
    found = connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return [name for (name,) in found]


def restore(database, pristine):
    """Puts the rows back, through SQL: the app has the file open."""
    connection = sqlite3.connect(database, isolation_level=None, timeout=10)
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("ATTACH ? AS pristine", (pristine,))
    connection.execute("BEGIN IMMEDIATE")
    for name in tables(connection):
        connection.execute(f'DELETE FROM main."{name}"')
        connection.execute(f'INSERT INTO main."{name}" SELECT * FROM pristine."{name}"')
    connection.execute("COMMIT")
    connection.close()


def least_keys(database):
    connection = sqlite3.connect(database)
    found = {}
    for name in sorted(tables(connection)):
        keys = [column for _, column, _, _, _, key in connection.execute(f'PRAGMA table_info("{name}")') if key]
        if len(keys) != 1:
            continue
        (least,) = connection.execute(f'SELECT min("{keys[0]}") FROM "{name}"').fetchone()
        if isinstance(least, int):
            for ending, single in (("ies", "y"), ("es", ""), ("s", "")):
                if name.endswith(ending):
                    found.setdefault(name[: -len(ending)] + single + "_id", least)
    connection.close()
    return found


def plain(schema, document):
    if "$ref" in schema:
        return plain(document["components"]["schemas"][schema["$ref"].split("/")[-1]], document)
    for several in ("anyOf", "oneOf", "allOf"):
        for part in schema.get(several, []):
            if part.get("type") != "null":
                return plain(part, document)
    return schema


def value(kind, name, schema, document, keys, depth=0):
    schema = plain(schema, document)
    if "enum" in schema or "const" in schema:
        return "garbage" if kind == "garbage" else schema.get("enum", [schema.get("const")])[0]
    if schema.get("format") in ("date", "date-time"):
        return "garbage" if kind == "garbage" else DATE if schema["format"] == "date" else MOMENT
    of = schema.get("type", "string")
    if of == "array":
        return [value(kind, name, schema.get("items", {}), document, keys, depth + 1)]
    if of == "object":
        return fields(kind, schema, document, keys, depth + 1)
    if of == "integer" and kind in ("existing", "required") and name in keys:
        return keys[name]
    return VALUES[kind].get(of, VALUES[kind]["string"])


def fields(kind, schema, document, keys, depth=0):
    every = kind in ("existing", "negative", "garbage") and depth < 3
    return {
        name: value(kind, name, each, document, keys, depth)
        for name, each in schema.get("properties", {}).items()
        if every or name in schema.get("required", [])
    }


def text(given):
    return "true" if given is True else "false" if given is False else str(given)


def request(base, path, method, operation, kind, document, keys):
    query = []
    for parameter in operation.get("parameters", []):
        every = kind in ("existing", "negative", "garbage")
        if not (every or parameter.get("required")):
            continue
        given = value(kind, parameter["name"], parameter["schema"], document, keys)
        if parameter["in"] == "path":
            if text(given) == "":
                return None  # no such path: the probe is refused before it is sent
            path = path.replace("{" + parameter["name"] + "}", urllib.parse.quote(text(given), safe=""))
        elif parameter["in"] == "query":
            query += [(parameter["name"], text(each)) for each in (given if isinstance(given, list) else [given])]
    body = None
    if "requestBody" in operation:
        schema = plain(operation["requestBody"]["content"]["application/json"]["schema"], document)
        body = json.dumps(fields(kind, schema, document, keys)).encode()
    url = base + path + ("?" + urllib.parse.urlencode(query) if query else "")
    return urllib.request.Request(url, data=body, method=method.upper(), headers={"content-type": "application/json"})


def status(wanted):
    try:
        with urllib.request.urlopen(wanted, timeout=20) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def serve(environment, database):
    os.environ["DATABASE_PATH"] = "sqlite:///" + database
    spec = importlib.util.spec_from_file_location("environment", environment)
    module = importlib.util.module_from_spec(spec)
    sys.modules["environment"] = module
    spec.loader.exec_module(module)
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(module.app, host="127.0.0.1", port=0, log_level="critical"))
    threading.Thread(target=server.run, daemon=True).start()
    for _ in range(600):
        if server.started:
            return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        time.sleep(0.05)
    raise SystemExit("uvicorn did not start")


def main(environment, schema_path, seed_path):
    folder = pathlib.Path(tempfile.mkdtemp())
    database, pristine = str(folder / "app.db"), str(folder / "pristine.db")
    scripts = [pathlib.Path(path).read_text(encoding="utf-8") for path in (schema_path, seed_path)]
    build(database, *scripts)
    build(pristine, *scripts)
    keys = least_keys(pristine)
    base = serve(environment, database)
    with urllib.request.urlopen(base + "/openapi.json") as response:
        document = json.load(response)
    failing, probes = [], 0
    for path, operations in document["paths"].items():
        for method in METHODS:
            for kind in VALUES if method in operations else ():
                wanted = request(base, path, method, operations[method], kind, document, keys)
                if wanted is None:
                    continue
                probes += 1
                if status(wanted) >= 500 and f"{method.upper()} {path}" not in failing:
                    failing.append(f"{method.upper()} {path}")
                restore(database, pristine)
    print(json.dumps({"probes": probes, "failing": sorted(failing)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
