"""All gates, level by level, in the order in which they are reported."""

from awm_generator.gates import protocol
from awm_generator.gates.runtime import (
    bad_arguments,
    constraints,
    egress,
    failed_calls,
    interleaving,
    missing_rows,
    read_only,
    replay,
    reset,
    server_errors,
    start,
    survives,
)
from awm_generator.gates.semantic import (
    answer_texts,
    answerless,
    equivalents,
    mutants,
    oracle,
    outside_changes,
    steadiness,
    untouched,
)
from awm_generator.gates.static import (
    code,
    empty_tables,
    enums,
    flat_schemas,
    frozen_sources,
    integrity,
    loads,
    module_state,
    openapi,
    oracles,
    routes,
    sql,
    task_entities,
    task_texts,
    tool_names,
    tool_tokens,
    verbs,
    verifiers,
)

_MODULES = (
    sql, integrity, empty_tables, code, frozen_sources, module_state, loads, openapi, tool_names, flat_schemas, enums,
    routes, verbs, tool_tokens, task_texts, task_entities, verifiers, oracles,
    survives, start, server_errors, missing_rows, bad_arguments, constraints, failed_calls, read_only, reset,
    interleaving, replay, egress,
    oracle, untouched, answerless, mutants, equivalents, outside_changes, steadiness, answer_texts,
)  # fmt: skip

GATES: tuple[protocol.AnyGate, ...] = tuple(module.GATE for module in _MODULES)


def of(level: protocol.Level) -> list[protocol.AnyGate]:
    """The gates of a level."""
    return [gate for gate in GATES if gate.level == level]


def named(id: str) -> protocol.AnyGate:
    """The gate with this id.

    Raises:
        KeyError: there is none.
    """
    found = {gate.id: gate for gate in GATES}
    return found[id]
