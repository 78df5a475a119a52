"""The app's OpenAPI document is valid, and tools.json with it."""

from collections.abc import Iterator

import jsonschema_rs

from awm_generator.gates import protocol, subjects

KINDS = frozenset({"invalid_schema", "unsupported_body", "file_upload"})


def find(subject: subjects.Subject) -> Iterator[protocol.Found]:
    """A defect per operation that cannot be served as it stands, and per tool whose schema is none."""
    if subject.code is not None:
        for finding in subject.code.toolset.findings:
            if finding.kind in KINDS:
                operation, _, detail = finding.detail.partition(": ")
                yield protocol.Found(operation, detail or finding.kind, severity="warn" if finding.served else None)
    for tool in subject.bundle.tools:
        try:
            jsonschema_rs.meta.validate(tool.get("inputSchema", {}))
        except (jsonschema_rs.ValidationError, ValueError) as exc:
            yield protocol.Found(str(tool.get("name")), f"its inputSchema is no JSON Schema: {exc}"[:300])


GATE = protocol.Gate(
    id="static.openapi",
    severity="fail",
    checks="Every operation has a valid OpenAPI part that a tool can be made of, and every inputSchema is valid.",
    example="POST /pictures: not served, tools cannot upload files",
    mend="Give bodies as JSON models with plain fields, and keywords the values that JSON Schema knows.",
    find=find,
)
