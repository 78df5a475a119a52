"""A bundle's card: what its gates say, as Markdown for people."""

from collections.abc import Iterator

from awm_generator.gates import protocol, registry, reports
from awm_runtime.bundle import model

_SHOWN = 5


def card(scenario: model.Scenario, made: reports.GateReport) -> str:
    """The card of a gated bundle."""
    return "\n".join(_lines(scenario, made)) + "\n"


def _lines(scenario: model.Scenario, made: reports.GateReport) -> Iterator[str]:
    yield f"# {scenario.title}: {made.tier}"
    yield ""
    yield f"`{scenario.name}`, generation {scenario.generation}, `{made.digest}`"
    if made.reasons:
        yield ""
        yield from (f"- {reason}" for reason in made.reasons)
    yield ""
    yield "| | |"
    yield "| --- | --- |"
    yield from (f"| {_words(name)} | {_cell(value)} |" for name, value in made.facts.items())
    yield f"| gates (version `{made.version}`, up to {made.level}) | {reports.summary(made)} |"
    for level in protocol.LEVELS:
        yield from _level(made, level)


def _level(made: reports.GateReport, level: protocol.Level) -> Iterator[str]:
    yield ""
    yield f"## {level.capitalize()} gates"
    yield ""
    yield "| gate | | defects |"
    yield "| --- | --- | --- |"
    gates = registry.of(level)
    for gate in gates:
        state = made.states.get(gate.id, "not run")
        yield f"| {gate.id} | {state if state != 'failed' else '**failed**'} | {len(made.of(gate.id)) or ''} |"
    for gate in gates:
        yield from _defects(gate, made.of(gate.id))


def _defects(gate: protocol.AnyGate, defects: list[protocol.Defect]) -> Iterator[str]:
    if not defects:
        return
    yield ""
    yield f"### {gate.id}"
    yield ""
    yield f"{gate.checks} To mend it: {gate.mend[0].lower()}{gate.mend[1:]}"
    for defect in defects[:_SHOWN]:
        yield ""
        yield f"- **{defect.subject}**: {defect.detail}"
        for name, text in defect.evidence.items():
            if text:
                yield ""
                yield f"  {name}:"
                yield ""
                yield from (f"      {line}" for line in text.splitlines())
    if len(defects) > _SHOWN:
        yield ""
        yield f"And {len(defects) - _SHOWN} more, in report.json."


def _words(name: str) -> str:
    return name.replace("_", " ")


def _cell(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
