"""Tool names are legal, unique and not reserved."""

import re
from collections import Counter
from collections.abc import Iterator

from awm_generator.gates import protocol, subjects
from awm_runtime.server import tools

_LEGAL = re.compile(r"[A-Za-z0-9_.-]{1,128}")


def find(subject: subjects.Subject) -> Iterator[protocol.Found]:
    """A defect per name in tools.json that will not do, and per operation or argument that had to be renamed."""
    names = Counter(str(tool["name"]) for tool in subject.bundle.tools)
    for name, count in names.items():
        if not _LEGAL.fullmatch(name):
            yield protocol.Found(name[:60], "letters, digits, _ . - are allowed in a tool's name, 128 at most")
        if count > 1:
            yield protocol.Found(name, f"{count} tools of tools.json have this name")
        if name in tools.RESERVED_NAMES:
            yield protocol.Found(name, "this name is reserved for an agent's own tools")
    if subject.code is not None:
        for finding in subject.code.toolset.findings:
            if finding.kind in ("renamed_tool", "renamed_argument"):
                operation, _, detail = finding.detail.partition(": ")
                yield protocol.Found(operation, detail)


GATE = protocol.Gate(
    id="static.tool-names",
    severity="fail",
    checks="Operation ids are legal tool names, each of its own, none reserved; no argument stands in two places.",
    example="GET /orders: 'list_tools' is reserved, served as 'list_tools_operation'",
    mend="Give each operation an operation_id of letters, digits and _ that says what it does.",
    find=find,
)
