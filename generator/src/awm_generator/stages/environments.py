"""The env stage: the code of a scenario, loaded in a confined process before it is believed."""

import json
from collections.abc import Sequence
from pathlib import Path

from awm_generator import prompts
from awm_generator.awm_files import databases, dates, parsing, probing, rows
from awm_generator.gates.static import code as static_code
from awm_generator.model import language
from awm_generator.stages import asking, outcomes, proving, specs, trials
from awm_runtime import names
from awm_runtime.bundle import model

_DETAIL = 1500


async def generate(
    spec: rows.SpecRow,
    schema: rows.DbRow,
    session: asking.Session,
    ran: trials.Trials,
    *,
    gates: proving.Gates,
    file: Path,
) -> rows.EnvRow:
    """The code of a scenario.

    Args:
        spec: What it is to serve.
        schema: What it is to work on.
        session: Who is asked.
        ran: Where it is tried.
        gates: What it has to pass.
        file: Its database, for the row.

    Raises:
        Quarantined: no reply held.
    """
    return await _settled(spec, schema, session, ran, gates=gates, file=file, before=())


async def mended(
    code: str,
    problem: str,
    spec: rows.SpecRow,
    schema: rows.DbRow,
    session: asking.Session,
    ran: trials.Trials,
    *,
    gates: proving.Gates,
    file: Path,
) -> rows.EnvRow:
    """The code of a scenario without a problem that `code` has.

    Raises:
        Quarantined: no reply held.
    """
    told = asking.refuted(code, problem)
    return await _settled(spec, schema, session, ran, gates=gates, file=file, before=told)


async def _settled(
    spec: rows.SpecRow,
    schema: rows.DbRow,
    session: asking.Session,
    ran: trials.Trials,
    *,
    gates: proving.Gates,
    file: Path,
    before: Sequence[language.Message],
) -> rows.EnvRow:
    tables = databases.joined(sql for _, sql in databases.schema_statements(schema))
    messages = prompts.conversation(
        "env", title=spec.scenario, schema=tables, spec=json.dumps(spec.api_spec, ensure_ascii=False, indent=1)
    )
    wanted = specs.operations(spec)

    async def attempt(text: str) -> rows.EnvRow:
        code = asking.code(text)
        _refuse_at_sight(code)
        _check(await ran.code(_bundle(spec, tables, code)), wanted)
        row = rows.EnvRow(scenario=names.normalise(spec.scenario), full_code=code, db_path=str(file))
        await gates.environment(row)
        return row

    return await session.settle((*messages, *before), attempt)


def _refuse_at_sight(code: str) -> None:
    """Refuses what can be seen without running it.

    Raises:
        Broken: it is no Python, or imports what it must not.
    """
    try:
        compile(code, "environment.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as exc:
        place = f" at line {exc.lineno}: {(exc.text or '').strip()}" if isinstance(exc, SyntaxError) else ""
        raise asking.Broken(f"SyntaxError: {getattr(exc, 'msg', exc)}{place}") from exc
    except (RecursionError, MemoryError) as exc:
        raise asking.Broken("The code is nested too deeply to be compiled.") from exc
    found = [f"line {line}: {what} is not allowed" for line, what in static_code.violations(code)]
    if found:
        raise asking.Broken(
            asking.summary(
                "The code may use FastAPI, pydantic, SQLAlchemy and what only computes: no files, network or processes",
                found,
            )
        )


def _check(probe: probing.Probe, wanted: Sequence[str]) -> None:
    if not probe.ok:
        error = probe.error or probing.ProbeError(reason="no reason was given")
        detail = error.detail.strip()[-_DETAIL:]
        raise asking.Broken(f"The module does not load: {error.reason}\n{detail}".strip())
    served = {tool["name"] for tool in probe.tools}
    problems = [f"missing endpoint: no route has operation_id {name}" for name in wanted if name not in served]
    problems += [finding.detail for finding in probe.findings if not finding.served]
    if problems:
        raise asking.Broken(asking.summary("The module loads, but does not serve what was specified", problems))


def _bundle(spec: rows.SpecRow, tables: str, code: str) -> model.Bundle:
    name = names.normalise(spec.scenario)
    if parsing.parsed(code) is None:
        raise outcomes.Quarantined("its code is not Python")
    scenario = model.Scenario(
        name=name,
        title=spec.scenario,
        clock=dates.clock((), ()),
        provenance=model.Provenance(source="awm-generator"),
    )
    return model.Bundle(
        root=Path(name),
        scenario=scenario,
        tasks=(),
        schema_sql=tables,
        seed_sql="",
        environment=code,
        spec={},
        tools=(),
    )
