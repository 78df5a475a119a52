"""Defects that a bundle's text shows, each with the gate that is to find it."""

import dataclasses

import planted

_ROUTE = '@app.{}("{}", operation_id="{}", summary="More")\ndef {}(session: Database) -> BranchList:\n    {}\n'


def route(method: str, path: str, name: str, body: str = "return list_branches(session)") -> str:
    return _ROUTE.format(method, path, name, f"more_{name}", body)


_ORDER = {"type": "object", "properties": {"lines": {"type": "array", "items": {"type": "object"}}}}
_CHOICE = {"type": "object", "properties": {"status": {"enum": ["waiting", "gone"]}}}
PLANTS = (
    planted.Plant(
        "a name that is put together",
        "static.code",
        planted.with_code('def tidy():\n    getattr(os, "sys" + "tem")("true")'),
    ),
    planted.Plant(
        "an insert into a column that is not there",
        "static.sql",
        planted.with_seed("INSERT INTO fines (sum) VALUES (1);"),
    ),
    planted.Plant(
        "an index over no table",
        "static.sql",
        planted.in_text("schema_sql", "ON copies (title_id)", "ON copys (title_id)"),
    ),
    planted.Plant(
        "a row that refers to nothing, foreign keys off",
        "static.integrity",
        planted.both(
            planted.in_scenario(foreign_keys="off"),
            planted.with_seed("INSERT INTO holds VALUES (99, 4711, 1, 1, NULL, 'cancelled', '2026-01-01T09:00:00Z');"),
        ),
    ),
    planted.Plant("an empty table that a task needs", "static.empty-tables", planted.without_table("holds")),
    planted.Plant(
        "an import of processes", "static.code", planted.in_code("import os\n", "import os\nimport subprocess\n")
    ),
    planted.Plant(
        "a file that is opened", "static.code", planted.with_code('def banner():\n    return open("/etc/motd").read()')
    ),
    planted.Plant("code out of text", "static.code", planted.with_code("def total(text):\n    return eval(text, {})")),
    planted.Plant("a command of the system", "static.code", planted.with_code('def tidy():\n    os.system("true")')),
    planted.Plant(
        "a way around the imports", "static.code", planted.with_code("def roots():\n    return object.__subclasses__()")
    ),
    planted.Plant(
        "a process id",
        "static.frozen-sources",
        planted.in_code("return now().date()", "os.getpid()\n    return now().date()"),
    ),
    planted.Plant(
        "an object's address", "static.frozen-sources", planted.with_code("def mark(row):\n    return id(row)")
    ),
    planted.Plant(
        "a wait on the real clock",
        "static.frozen-sources",
        planted.with_code("import time\n\n\ndef rest():\n    time.sleep(1)"),
    ),
    planted.Plant(
        "a counter in the module",
        "static.module-state",
        planted.both(
            planted.in_code("def now()", "seen = {}\n\n\ndef now()"),
            planted.in_code("return now().date()", "seen[1] = 1\n    return now().date()"),
        ),
    ),
    planted.Plant("a slip of syntax", "static.loads", planted.in_code("def today() -> date:", "def today( -> date:")),
    planted.Plant("a name that is not there", "static.loads", planted.in_code("app = FastAPI(", "app = FestAPI(")),
    planted.Plant(
        "an app of another database",
        "static.loads",
        planted.in_code(
            '"sqlite:///library.db")', '"sqlite:///library.db")\nengine = create_engine("postgresql://library")'
        ),
    ),
    planted.Plant(
        "an upload",
        "static.openapi",
        planted.with_code(
            "from fastapi import UploadFile\n\n\n"
            '@app.post("/api/pictures", operation_id="add_picture")\n'
            "def add_picture(picture: UploadFile):\n    return None"
        ),
    ),
    planted.Plant("a schema that is none", "static.openapi", planted.in_tool("get_me", inputSchema={"type": "objekt"})),
    planted.Plant(
        "a name that is taken", "static.tool-names", planted.with_code(route("get", "/api/more", "list_branches"))
    ),
    planted.Plant("a reserved name", "static.tool-names", planted.with_code(route("get", "/api/tools", "list_tools"))),
    planted.Plant("a list of objects", "static.flat-schemas", planted.in_tool("return_loan", inputSchema=_ORDER)),
    planted.Plant("a choice that no row may hold", "static.enums", planted.in_tool("return_loan", inputSchema=_CHOICE)),
    planted.Plant(
        "a literal route too late",
        "static.routes",
        planted.with_code(route("get", "/api/titles/popular", "list_popular")),
    ),
    planted.Plant(
        "a route that is there twice", "static.routes", planted.with_code(route("get", "/api/branches", "list_houses"))
    ),
    planted.Plant(
        "a GET that deletes", "static.verbs", planted.with_code(route("get", "/api/me/delete", "delete_account"))
    ),
    planted.Plant(
        "a POST that lists", "static.verbs", planted.with_code(route("post", "/api/me/everything", "list_everything"))
    ),
    planted.Plant(
        "a tool list like a book", "static.tool-tokens", planted.in_tool("get_me", description="All about it. " * 5000)
    ),
    planted.Plant(
        "one task twice",
        "static.task-texts",
        planted.in_task(
            "soil-cancel",
            instruction="Put me in the queue for the film Fourteen Days of Rain. I will collect it at my branch.",
        ),
    ),
    planted.Plant("a task that says nothing", "static.task-texts", planted.in_task("soil-cancel", instruction=" ")),
    planted.Plant(
        "a number that is not there",
        "static.task-entities",
        planted.in_task("soil-cancel", instruction="Please drop hold 4711."),
    ),
    planted.Plant(
        "a name that is not in the seed",
        "static.task-entities",
        planted.in_task("soil-cancel", instruction="Please drop my place in the queue of 'Mud, Mostly'."),
    ),
    planted.Plant(
        "a new list that is there",
        "static.task-entities",
        planted.in_task("train-listening", instruction="Start a reading list called 'Spring on the balcony'."),
    ),
    planted.Plant(
        "a verifier without its function",
        "static.verifiers",
        planted.in_verifier("soil-cancel", "def verify_task_completion", "def verify"),
    ),
    planted.Plant(
        "a task that nothing judges",
        "static.verifiers",
        lambda bundle: dataclasses.replace(
            bundle, verifiers={key: each for key, each in bundle.verifiers.items() if key[0] != "soil-cancel"}
        ),
    ),
    planted.Plant(
        "an oracle that calls what is not there",
        "static.oracles",
        planted.in_oracle("rain-hold", planted.last_call(tool="hold_place")),
    ),
    planted.Plant(
        "an oracle with a wrong argument",
        "static.oracles",
        planted.in_oracle("rain-hold", planted.last_call(arguments={"title": 15})),
    ),
)
