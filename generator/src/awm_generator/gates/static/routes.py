"""Every operation can be reached."""

from collections.abc import Iterator

from awm_generator.gates import protocol, subjects


def find(subject: subjects.Subject) -> Iterator[protocol.Found]:
    """A defect per route that another one always answers first, duplicates among them."""
    if subject.code is None:
        return
    for finding in subject.code.toolset.findings:
        if finding.kind == "shadowed_route":
            operation, _, detail = finding.detail.partition(" is never reached: ")
            yield protocol.Found(operation, f"never reached: {detail}")


GATE = protocol.Gate(
    id="static.routes",
    severity="fail",
    checks="No route is shadowed by an earlier one, and none is there twice.",
    example="GET /items/search: never reached: /items/{id} comes first and takes its requests",
    mend="Put literal routes before those with parameters, and give each operation a path of its own.",
    find=find,
)
