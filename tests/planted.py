"""Defects to plant in an example scenario, one at a time, each with the gate that is to find it."""

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from awm_generator.gates import protocol
from awm_runtime.bundle import model

Change = Callable[[model.Bundle], model.Bundle]


@dataclass(frozen=True)
class Plant:
    """One defect.

    Attributes:
        name: What it is.
        gate: The gate that is to find it.
        change: Plants it.
        related: Other gates that it is a defect for as well.
        tools: Whether the code's tools are another's, so that tools.json is to be written anew.
        task: For gates over tasks: the one task that is kept.
    """

    name: str
    gate: str
    change: Change
    related: tuple[str, ...] = ()
    tools: bool = False
    task: str | None = None

    @property
    def level(self) -> protocol.Level:
        """How far the gates have to run."""
        return next(level for level in protocol.LEVELS if self.gate.startswith(level))


def _text(field: str, old: str, new: str) -> Change:
    def change(bundle: model.Bundle) -> model.Bundle:
        text = getattr(bundle, field)
        assert old in text, old
        return dataclasses.replace(bundle, **{field: text.replace(old, new, 1)})

    return change


def _code(old: str, new: str) -> Change:
    return _text("environment", old, new)


def _added(text: str) -> Change:
    return lambda bundle: dataclasses.replace(bundle, environment=f"{bundle.environment}\n\n{text}\n")


def _seed(text: str) -> Change:
    return lambda bundle: dataclasses.replace(bundle, seed_sql=f"{bundle.seed_sql}\n{text}\n")


def _tool(name: str, **parts: Any) -> Change:
    def change(bundle: model.Bundle) -> model.Bundle:
        assert name in {tool["name"] for tool in bundle.tools}
        tools = tuple({**tool, **parts} if tool["name"] == name else tool for tool in bundle.tools)
        return dataclasses.replace(bundle, tools=tools)

    return change


def _task(task_id: str, **parts: Any) -> Change:
    def change(bundle: model.Bundle) -> model.Bundle:
        assert bundle.task(task_id) is not None
        tasks = tuple(task.model_copy(update=parts) if task.id == task_id else task for task in bundle.tasks)
        return dataclasses.replace(bundle, tasks=tasks)

    return change


def _oracle(task_id: str, edit: Callable[[model.Oracle], model.Oracle | None]) -> Change:
    def change(bundle: model.Bundle) -> model.Bundle:
        task = bundle.task(task_id)
        assert task is not None
        assert task.oracle is not None
        return _task(task_id, oracle=edit(task.oracle))(bundle)

    return change


def _verifier(task_id: str, old: str, new: str) -> Change:
    def change(bundle: model.Bundle) -> model.Bundle:
        source = bundle.verifiers[task_id, "code"]
        assert old in source, old
        return dataclasses.replace(
            bundle, verifiers={**bundle.verifiers, (task_id, "code"): source.replace(old, new, 1)}
        )

    return change


def _scenario(**parts: Any) -> Change:
    return lambda bundle: dataclasses.replace(bundle, scenario=bundle.scenario.model_copy(update=parts))


def _both(*changes: Change) -> Change:
    def change(bundle: model.Bundle) -> model.Bundle:
        for each in changes:
            bundle = each(bundle)
        return bundle

    return change


def _without_table(name: str) -> Change:
    def change(bundle: model.Bundle) -> model.Bundle:
        seed, count = re.subn(rf"INSERT INTO {name} .*?;\n", "", bundle.seed_sql, flags=re.DOTALL)
        assert count
        return dataclasses.replace(bundle, seed_sql=seed)

    return change


def _last_call(**parts: Any) -> Callable[[model.Oracle], model.Oracle]:
    def edit(oracle: model.Oracle) -> model.Oracle:
        return oracle.model_copy(update={"calls": (*oracle.calls[:-1], oracle.calls[-1].model_copy(update=parts))})

    return edit


_ROUTE = '@app.{}("{}", operation_id="{}", summary="More")\ndef {}(session: Database) -> BranchList:\n    {}\n'


def _route(method: str, path: str, name: str, body: str = "return list_branches(session)") -> str:
    return _ROUTE.format(method, path, name, f"more_{name}", body)


_ORDER = {"type": "object", "properties": {"lines": {"type": "array", "items": {"type": "object"}}}}
_CHOICE = {"type": "object", "properties": {"status": {"enum": ["waiting", "gone"]}}}
_COMPLETE = 'return {"result": "complete"}\n    before, after = read'
_VERDICT = 'before, after = read(initial_db_path), read(final_db_path)'

STATIC = (
    Plant("an insert into a column that is not there", "static.sql", _seed("INSERT INTO fines (sum) VALUES (1);")),
    Plant("an index over no table", "static.sql", _text("schema_sql", "ON copies (title_id)", "ON copys (title_id)")),
    Plant(
        "a row that refers to nothing, foreign keys off",
        "static.integrity",
        _both(
            _scenario(foreign_keys="off"),
            _seed("INSERT INTO holds VALUES (99, 4711, 1, 1, NULL, 'cancelled', '2026-01-01T09:00:00Z');"),
        ),
    ),
    Plant("an empty table that a task needs", "static.empty-tables", _without_table("holds")),
    Plant("an import of processes", "static.code", _code("import os\n", "import os\nimport subprocess\n")),
    Plant("a file that is opened", "static.code", _added('def banner():\n    return open("/etc/motd").read()')),
    Plant("code out of text", "static.code", _added('def total(text):\n    return eval(text, {})')),
    Plant("a command of the system", "static.code", _added('def tidy():\n    os.system("true")')),
    Plant("a way around the imports", "static.code", _added("def roots():\n    return object.__subclasses__()")),
    Plant("a process id", "static.frozen-sources", _code("return now().date()", "os.getpid()\n    return now().date()")),
    Plant("an object's address", "static.frozen-sources", _added("def mark(row):\n    return id(row)")),
    Plant("a wait on the real clock", "static.frozen-sources", _added("import time\n\n\ndef rest():\n    time.sleep(1)")),
    Plant(
        "a counter in the module",
        "static.module-state",
        _both(_code("def now()", "seen = {}\n\n\ndef now()"), _code("return now().date()", "seen[1] = 1\n    return now().date()")),
    ),
    Plant("a slip of syntax", "static.loads", _code("def today() -> date:", "def today( -> date:")),
    Plant("a name that is not there", "static.loads", _code("app = FastAPI(", "app = FestAPI(")),
    Plant("an app of another database", "static.loads", _code('"sqlite:///library.db")', '"sqlite:///library.db")\nengine = create_engine("postgresql://library")')),
    Plant(
        "an upload",
        "static.openapi",
        _added('from fastapi import UploadFile\n\n\n@app.post("/api/pictures", operation_id="add_picture")\ndef add_picture(picture: UploadFile):\n    return None'),
    ),
    Plant("a schema that is none", "static.openapi", _tool("get_me", inputSchema={"type": "objekt"})),
    Plant("a name that is taken", "static.tool-names", _added(_route("get", "/api/more", "list_branches"))),
    Plant("a reserved name", "static.tool-names", _added(_route("get", "/api/tools", "list_tools"))),
    Plant("a list of objects", "static.flat-schemas", _tool("return_loan", inputSchema=_ORDER)),
    Plant("a choice that no row may hold", "static.enums", _tool("return_loan", inputSchema=_CHOICE)),
    Plant("a literal route too late", "static.routes", _added(_route("get", "/api/titles/popular", "list_popular"))),
    Plant("a route that is there twice", "static.routes", _added(_route("get", "/api/branches", "list_houses"))),
    Plant("a GET that deletes", "static.verbs", _added(_route("get", "/api/me/delete", "delete_account"))),
    Plant("a POST that lists", "static.verbs", _added(_route("post", "/api/me/everything", "list_everything"))),
    Plant("a tool list like a book", "static.tool-tokens", _tool("get_me", description="All about it. " * 5000)),
    Plant(
        "one task twice",
        "static.task-texts",
        _task("soil-cancel", instruction="Put me in the queue for the film Fourteen Days of Rain. I will collect it at my branch."),
    ),
    Plant("a task that says nothing", "static.task-texts", _task("soil-cancel", instruction=" ")),
    Plant("a number that is not there", "static.task-entities", _task("soil-cancel", instruction="Please drop hold 4711.")),
    Plant("a name that is not in the seed", "static.task-entities", _task("soil-cancel", instruction="Please drop my place in the queue of 'Mud, Mostly'.")),
    Plant("a new list that is there", "static.task-entities", _task("train-listening", instruction="Start a reading list called 'Spring on the balcony'.")),
    Plant("a verifier without its function", "static.verifiers", _verifier("soil-cancel", "def verify_task_completion", "def verify")),
    Plant(
        "a task that nothing judges",
        "static.verifiers",
        lambda bundle: dataclasses.replace(
            bundle, verifiers={key: each for key, each in bundle.verifiers.items() if key[0] != "soil-cancel"}
        ),
    ),
    Plant("an oracle that calls what is not there", "static.oracles", _oracle("rain-hold", _last_call(tool="hold_place"))),
    Plant("an oracle with a wrong argument", "static.oracles", _oracle("rain-hold", _last_call(arguments={"title": 15}))),
)  # fmt: skip

_HIDDEN_STATE = 'def stamp(_made=[]) -> str:\n    _made.append(1)\n    return f"2026-03-02T10:00:{len(_made) % 60:02}Z"'

RUNTIME = (
    Plant("tools.json says something else", "runtime.start", _tool("get_me", description="Who you are.")),
    Plant(
        "spec.json has more",
        "runtime.start",
        lambda bundle: dataclasses.replace(
            bundle, spec={"api_groups": [{"group_name": "x", "endpoints": [{"path": "/api/rooms", "method": "GET"}]}]}
        ),
    ),
    Plant(
        "a row that is not looked for",
        "runtime.server-errors",
        _code('row = existing(session, Title, title_id, "title")\n    copies', "row = session.get(Title, title_id)\n    copies"),
    ),
    Plant(
        "another row for one that is missing",
        "runtime.missing-rows",
        _code(
            'row = existing(session, Title, title_id, "title")\n    copies',
            "row = session.get(Title, title_id) or session.get(Title, 1)\n    copies",
        ),
    ),
    Plant(
        "a list without a name",
        "runtime.bad-arguments",
        _both(
            _code('name: str = Field(min_length=1, max_length=80, ', "name: str = Field("),
            _code('    if not name:\n        raise refuse(422, "A reading list needs a name.")\n', ""),
        ),
        tools=True,
    ),
    Plant(
        "a value that its column does not allow",
        "runtime.constraints",
        _code(
            '    registration.status = "cancelled"',
            '    session.connection().exec_driver_sql("PRAGMA ignore_check_constraints = ON")\n'
            '    registration.status = "gone"',
        ),
    ),
    Plant(
        "a row whose parent goes",
        "runtime.constraints",
        _both(
            _scenario(foreign_keys="off"),
            _code("PRAGMA foreign_keys = ON", "PRAGMA foreign_keys = OFF"),
            _added(
                '@app.delete("/api/titles/{title_id}", operation_id="delete_title")\n'
                'def delete_title(session: Database, title_id: Id) -> None:\n'
                '    session.delete(existing(session, Title, title_id, "title"))\n    session.commit()'
            ),
        ),
        related=("runtime.server-errors", "runtime.failed-calls"),
        tools=True,
    ),
    Plant(
        "a refusal after the commit",
        "runtime.failed-calls",
        _code("    return ReadingListView(id=row.id, name=row.name, entries=0)", '    raise refuse(409, "Not today.")'),
    ),
    Plant(
        "a counter of views",
        "runtime.read-only",
        _code(
            'row = existing(session, Title, title_id, "title")\n    copies',
            'row = existing(session, Title, title_id, "title")\n    row.loan_days += 1\n    session.commit()\n    copies',
        ),
    ),
    Plant(
        "state in a default value",
        "runtime.interleaving",
        _code('def stamp() -> str:\n    return now().strftime("%Y-%m-%dT%H:%M:%SZ")', _HIDDEN_STATE),
        related=("runtime.reset", "runtime.replay"),
    ),
    Plant(
        "state in a default value, a process for each episode",
        "runtime.server-errors",
        _both(
            _scenario(isolation="process"),
            _code('row = existing(session, Title, title_id, "title")\n    copies', "row = session.get(Title, title_id)\n    copies"),
        ),
    ),
    Plant(
        "a clock of a library",
        "runtime.replay",
        _both(
            _code("import os\n", "import email.utils\nimport os\n"),
            _code('return now().strftime("%Y-%m-%dT%H:%M:%SZ")', "return email.utils.localtime().isoformat()"),
        ),
        related=("static.frozen-sources", "runtime.reset", "runtime.interleaving", "runtime.server-errors"),
    ),
    Plant(
        "a reset that lets something stay",
        "runtime.reset",
        _code('def stamp() -> str:\n    return now().strftime("%Y-%m-%dT%H:%M:%SZ")', _HIDDEN_STATE),
        related=("runtime.interleaving", "runtime.replay"),
    ),
    Plant(
        "a connection to somewhere",
        "runtime.egress",
        _both(
            _code("import os\n", "import os\nimport uvicorn\n"),
            _added(
                '@app.get("/api/weather", operation_id="get_weather")\ndef get_weather():\n'
                '    uvicorn.config.socket.create_connection(("192.0.2.1", 80), timeout=1)'
            ),
        ),
        related=("runtime.server-errors",),
        tools=True,
    ),
)  # fmt: skip

_ALL = ("semantic.answerless", "semantic.mutants", "semantic.outside-changes")

SEMANTIC = (
    Plant("an oracle that stops too early", "semantic.oracle", _oracle("mill-quay", lambda oracle: oracle.model_copy(update={"calls": oracle.calls[:-1]})), ("semantic.mutants",), task="mill-quay"),
    Plant("an oracle that finds nothing", "semantic.oracle", _oracle("soil-cancel", _last_call(arguments={"hold_id": {"$from": "holds.items[?title=='Mud'].id | [0]"}})), task="soil-cancel"),
    Plant("a task without an oracle", "semantic.oracle", _oracle("soil-cancel", lambda _: None), task="soil-cancel"),
    Plant("an oracle that is refused", "semantic.oracle", _oracle("soil-cancel", _last_call(arguments={"hold_id": 9999})), task="soil-cancel"),
    Plant("a verifier that is content with all", "semantic.untouched", _verifier("two-fines", "before, after = read", _COMPLETE), _ALL, task="two-fines"),
    Plant("a verifier that returns nothing", "semantic.untouched", _verifier("two-fines", "before, after = read", "return None\n    before, after = read"), ("semantic.oracle",), task="two-fines"),
    Plant("a verifier that does not hear", "semantic.answerless", _verifier("two-fines", 'says(final_answer, "4.50", "4.5", "4,50", "450")', "True"), ("semantic.mutants",), task="two-fines"),
    Plant(
        "a verifier that counts holds",
        "semantic.mutants",
        _verifier("rain-hold", _VERDICT, f'{_VERDICT}\n    if len(after["holds"]) > len(before["holds"]):\n        return {{"result": "complete"}}'),
        ("semantic.outside-changes",),
        task="rain-hold",
    ),
    Plant(
        "a verifier that looks at the clock's seconds",
        "semantic.equivalents",
        _verifier("rain-hold", _VERDICT, f'{_VERDICT}\n    made = [row for key, row in after["holds"].items() if key not in before["holds"]]\n    if made and made[0]["created_at"] != "2026-03-02T09:00:02Z":\n        return {{"result": "others"}}'),
        task="rain-hold",
    ),
    Plant("a verifier that looks at one table", "semantic.outside-changes", _verifier("rain-hold", 'if left else share', 'if [each for each in left if each[0] == "holds"] else share'), ("semantic.mutants",), task="rain-hold"),
    Plant(
        "a verifier that throws dice",
        "semantic.steadiness",
        _verifier("rain-hold", _VERDICT, f'{_VERDICT}\n    import random\n    if random.random() < 0.3:\n        return {{"result": "others"}}'),
        ("semantic.oracle", "semantic.equivalents"),
        task="rain-hold",
    ),
    Plant(
        "a verifier that does not end",
        "semantic.steadiness",
        _verifier("rain-hold", _VERDICT, f"while True:\n        pass\n    {_VERDICT}"),
        ("semantic.oracle", "semantic.untouched"),
        task="rain-hold",
    ),
    Plant(
        "an answer on a label",
        "semantic.answer-texts",
        _code('description="All branches with', 'description="Maps of the Night Sky was popular. All branches with'),
        tools=True,
        task="renew-week",
    ),
)  # fmt: skip

ALL = (*STATIC, *RUNTIME, *SEMANTIC)
