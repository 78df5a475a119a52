"""The scenario starts in time, and serves what its bundle says."""

from collections.abc import Iterator, Mapping
from typing import Any

from awm_generator.gates import observing, protocol
from awm_runtime.bundle import digest

START_S = 5.0


def find(seen: observing.Observed) -> Iterator[protocol.Found]:
    """A defect where it is slow, and per tool that is not as tools.json or spec.json has it."""
    subject = seen.subject
    if subject.code is None:
        return
    if subject.load_s > START_S:
        yield protocol.Found(
            "environment.py", f"loading took {subject.load_s:.1f} s, over {START_S:g} s", severity="fail"
        )
    served = {tool["name"]: tool for tool in subject.code.toolset.served}
    listed = {str(tool["name"]): tool for tool in subject.bundle.tools}
    for name in sorted(served.keys() | listed.keys()):
        if name not in served:
            yield protocol.Found(name, "tools.json has it, and the code does not serve it")
        elif name not in listed:
            yield protocol.Found(name, "the code serves it, and tools.json does not have it")
        elif digest.canonical(served[name]) != digest.canonical(dict(listed[name])):
            evidence = {"served": str(served[name]), "tools.json": str(listed[name])}
            yield protocol.Found(name, "the code serves another description or schema than tools.json has", evidence)
    operations = {(tool.method, tool.path) for tool in subject.code.toolset.tools.values()}
    for method, path in specified(subject.bundle.spec):
        if (method, path) not in operations:
            yield protocol.Found(
                f"{method} {path}", "spec.json has it, and the code does not serve it", severity="fail"
            )


def specified(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The operations of a specification: AWM's groups of endpoints, or OpenAPI's paths."""
    for group in spec.get("api_groups") or ():
        for endpoint in (group.get("endpoints") or ()) if isinstance(group, Mapping) else ():
            if isinstance(endpoint, Mapping) and endpoint.get("path"):
                yield str(endpoint.get("method", "GET")).upper(), str(endpoint["path"])
    paths = spec.get("paths")
    for path, methods in paths.items() if isinstance(paths, Mapping) else ():
        for method in methods if isinstance(methods, Mapping) else ():
            if method in ("get", "post", "put", "patch", "delete"):
                yield method.upper(), path


GATE = protocol.Gate(
    id="runtime.start",
    severity="quarantine",
    checks=f"The code loads within {START_S:g} s and serves exactly the tools of tools.json, and every operation "
    "of spec.json.",
    example="GET /api/fines: spec.json has it, and the code does not serve it",
    mend="Write tools.json anew from the code (`awm bundle import` and the generator do); add what is missing.",
    find=find,
)
