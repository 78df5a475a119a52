"""Defects that calls show, each with the gate that is to find it."""

import dataclasses

import planted

_HIDDEN_STATE = 'def stamp(_made=[]) -> str:\n    _made.append(1)\n    return f"2026-03-02T10:00:{len(_made) % 60:02}Z"'

PLANTS = (
    planted.Plant(
        "tools.json says something else", "runtime.start", planted.in_tool("get_me", description="Who you are.")
    ),
    planted.Plant(
        "spec.json has more",
        "runtime.start",
        lambda bundle: dataclasses.replace(
            bundle, spec={"api_groups": [{"group_name": "x", "endpoints": [{"path": "/api/rooms", "method": "GET"}]}]}
        ),
    ),
    planted.Plant(
        "a row that is not looked for",
        "runtime.server-errors",
        planted.in_code(
            'row = existing(session, Title, title_id, "title")\n    copies',
            "row = session.get(Title, title_id)\n    copies",
        ),
    ),
    planted.Plant(
        "another row for one that is missing",
        "runtime.missing-rows",
        planted.in_code(
            'row = existing(session, Title, title_id, "title")\n    copies',
            "row = session.get(Title, title_id) or session.get(Title, 1)\n    copies",
        ),
    ),
    planted.Plant(
        "a list without a name",
        "runtime.bad-arguments",
        planted.both(
            planted.in_code("name: str = Field(min_length=1, max_length=80, ", "name: str = Field("),
            planted.in_code('    if not name:\n        raise refuse(422, "A reading list needs a name.")\n', ""),
        ),
        tools=True,
    ),
    planted.Plant(
        "a value that its column does not allow",
        "runtime.constraints",
        planted.in_code(
            '    registration.status = "cancelled"',
            '    session.connection().exec_driver_sql("PRAGMA ignore_check_constraints = ON")\n'
            '    registration.status = "gone"',
        ),
    ),
    planted.Plant(
        "a row whose parent goes",
        "runtime.constraints",
        planted.both(
            planted.in_scenario(foreign_keys="off"),
            planted.in_code("PRAGMA foreign_keys = ON", "PRAGMA foreign_keys = OFF"),
            planted.with_code(
                '@app.delete("/api/titles/{title_id}", operation_id="delete_title")\n'
                "def delete_title(session: Database, title_id: Id) -> None:\n"
                '    session.delete(existing(session, Title, title_id, "title"))\n    session.commit()'
            ),
        ),
        related=("runtime.server-errors", "runtime.failed-calls"),
        tools=True,
    ),
    planted.Plant(
        "a refusal after the commit",
        "runtime.failed-calls",
        planted.in_code(
            "    return ReadingListView(id=row.id, name=row.name, entries=0)", '    raise refuse(409, "Not today.")'
        ),
    ),
    planted.Plant(
        "a counter of views",
        "runtime.read-only",
        planted.in_code(
            'title_id, "title")\n    copies',
            'title_id, "title")\n    row.loan_days += 1\n    session.commit()\n    copies',
        ),
    ),
    planted.Plant(
        "state in a default value",
        "runtime.interleaving",
        planted.in_code('def stamp() -> str:\n    return now().strftime("%Y-%m-%dT%H:%M:%SZ")', _HIDDEN_STATE),
        related=("runtime.reset", "runtime.replay"),
    ),
    planted.Plant(
        "state in a default value, a process for each episode",
        "runtime.server-errors",
        planted.both(
            planted.in_scenario(isolation="process"),
            planted.in_code(
                'row = existing(session, Title, title_id, "title")\n    copies',
                "row = session.get(Title, title_id)\n    copies",
            ),
        ),
    ),
    planted.Plant(
        "a clock of a library",
        "runtime.replay",
        planted.both(
            planted.in_code("import os\n", "import email.utils\nimport os\n"),
            planted.in_code(
                'return now().strftime("%Y-%m-%dT%H:%M:%SZ")', "return email.utils.localtime().isoformat()"
            ),
        ),
        related=("static.frozen-sources", "runtime.reset", "runtime.interleaving", "runtime.server-errors"),
    ),
    planted.Plant(
        "a reset that lets something stay",
        "runtime.reset",
        planted.in_code('def stamp() -> str:\n    return now().strftime("%Y-%m-%dT%H:%M:%SZ")', _HIDDEN_STATE),
        related=("runtime.interleaving", "runtime.replay"),
    ),
    planted.Plant(
        "a connection to somewhere",
        "runtime.egress",
        planted.both(
            planted.in_code("import os\n", "import os\nimport uvicorn\n"),
            planted.with_code(
                '@app.get("/api/weather", operation_id="get_weather")\ndef get_weather():\n'
                '    uvicorn.config.socket.create_connection(("192.0.2.1", 80), timeout=1)'
            ),
        ),
        related=("runtime.server-errors",),
        tools=True,
    ),
)
