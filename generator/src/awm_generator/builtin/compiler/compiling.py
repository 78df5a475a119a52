"""Compiles a world to a bundle: rows, code, specification, tasks and verifiers, all of it played and judged."""

import hashlib
import tempfile
from pathlib import Path

from awm_generator.builtin import errors
from awm_generator.builtin.compiler import (
    environment_text,
    population,
    proving,
    schema_text,
    specification,
    tasks,
    verifiers_text,
    worlds,
)
from awm_runtime.bundle import model

VERSION = "5"
"""Counts up when the same blueprint and seed come to another bundle."""

_SCRATCH = Path("/dev/shm")  # noqa: S108 - memory-backed where there is one


def compile_world(world: worlds.World) -> model.Bundle:
    """The bundle of a world, without a folder yet; the same for the same world on every supported Python.

    Raises:
        CompilationError: what was compiled does not do what was planned.
    """
    state = population.populate(world)
    planned = tasks.plan(state)
    environment = environment_text.source(world)
    schema_sql, seed_sql = schema_text.schema(world), schema_text.seed(state)
    scenario = _scenario(world)
    verifiers = {each.task.id: verifiers_text.source(state, each) for each in planned}
    listed = tuple(each.task for each in planned)
    with tempfile.TemporaryDirectory(prefix="awm-compile-", dir=_SCRATCH if _SCRATCH.is_dir() else None) as folder:
        stage = proving.Stage(
            scenario, schema_sql=schema_sql, seed_sql=seed_sql, environment=environment, folder=Path(folder)
        )
        try:
            _check_names(world, [str(tool["name"]) for tool in stage.toolset.served])
            proving.prove(stage, listed, verifiers)
            served = tuple(stage.toolset.served)
            counts = model.Counts(tables=stage.tables, rows=stage.rows, tools=len(served), tasks=len(listed))
        finally:
            stage.close()
    return model.Bundle(
        root=Path(world.name),
        scenario=scenario.model_copy(update={"counts": counts}),
        tasks=listed,
        schema_sql=schema_sql,
        seed_sql=seed_sql,
        environment=environment,
        spec=specification.spec(state),
        tools=served,
        verifiers={(task, "code"): text for task, text in verifiers.items()},
    )


def _check_names(world: worlds.World, served: list[str]) -> None:
    planned = [tool.name for tool in world.tools]
    if served != planned:
        differing = next((pair for pair in zip(planned, served, strict=False) if pair[0] != pair[1]), ("", ""))
        raise errors.CompilationError(f"{world.seed}: tool {differing[0]!r} is served as {differing[1]!r}")


def provenance(world: worlds.World) -> model.Provenance:
    """Where the bundle comes from: the blueprint, its modules and the seed."""
    parts = "+".join((world.blueprint, *world.modules))
    digest = hashlib.sha256(f"{VERSION}/{parts}/{world.seed}".encode()).hexdigest()[:16]
    return model.Provenance(source=f"builtin:{parts}:{digest}", license="Apache-2.0")


def _scenario(world: worlds.World) -> model.Scenario:
    return model.Scenario(
        name=world.name,
        title=world.title,
        description=world.about,
        clock=world.clock,
        user=model.User(id=1),
        foreign_keys="on",
        provenance=provenance(world),
    )
