"""What a tool is called agrees with its method."""

import re
from collections.abc import Iterator

from awm_generator.gates import protocol, subjects

_READING = frozenset({"get", "list"})
_MOSTLY_READING = frozenset({"show", "view", "fetch", "read", "browse"})
"""These may also be deeds: fetching a parcel, reading a message and so marking it."""
_WRITING = frozenset(
    {"add", "approve", "assign", "book", "cancel", "change", "close", "create", "delete", "edit", "insert", "move"}
    | {"pay", "place", "post", "publish", "register", "remove", "rename", "renew", "reschedule", "send", "set"}
    | {"submit", "update", "withdraw"}
)
_DELETING = frozenset({"delete", "remove"})


def find(subject: subjects.Subject) -> Iterator[protocol.Found]:
    """A defect per tool whose first word says one thing and whose method another."""
    if subject.code is None:
        return
    for tool in subject.code.toolset.tools.values():
        verb = re.split(r"[^a-z]", tool.name.casefold(), maxsplit=1)[0]
        reads = tool.method in ("GET", "HEAD", "OPTIONS")
        odd = verb in _MOSTLY_READING and not reads
        wrong = (
            (verb in _WRITING and reads)
            or (verb in _READING and not reads)
            or (verb == "create" and tool.method == "DELETE")
            or (verb in _DELETING and tool.method == "PUT")
        )
        if wrong or odd:
            evidence = {"request": f"{tool.method} {tool.path}"}
            detail = f"it is called {verb!r} and is a {tool.method}"
            yield protocol.Found(tool.name, detail, evidence, "warn" if odd else None)


GATE = protocol.Gate(
    id="static.verbs",
    severity="fail",
    checks="A tool that is called get or list is a GET, one that is called create, update or delete is not: "
    "agents and this server trust the method for what changes nothing. Verbs that may be deeds too (show, view, fetch, "
    "read, browse) are only told where they are no GET.",
    example="delete_order: it is called 'delete' and is a GET",
    mend="Use GET for reading, POST for making and acting, PUT or PATCH for changing, DELETE for removing.",
    find=find,
)
