"""Planting a defect in an example scenario: what a plant is, and the changes that plants are made of."""

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from awm_generator.gates import protocol
from awm_runtime.bundle import model

Change = Callable[[model.Bundle], model.Bundle]


@dataclass(frozen=True)
class Plant:
    """One defect.

    Attributes:
        name: What it is.
        gate: The gate that is to find it.
        change: Plants it.
        related: Other gates that it is a defect for as well.
        tools: Whether the code's tools are another's, so that tools.json is to be written anew.
        task: For gates over tasks: the one task that is kept.
    """

    name: str
    gate: str
    change: Change
    related: tuple[str, ...] = ()
    tools: bool = False
    task: str | None = None

    @property
    def level(self) -> protocol.Level:
        """How far the gates have to run."""
        return next(level for level in protocol.LEVELS if self.gate.startswith(level))


def in_text(field: str, old: str, new: str) -> Change:
    def change(bundle: model.Bundle) -> model.Bundle:
        text = getattr(bundle, field)
        assert old in text, old
        return dataclasses.replace(bundle, **{field: text.replace(old, new, 1)})

    return change


def in_code(old: str, new: str) -> Change:
    return in_text("environment", old, new)


def with_code(text: str) -> Change:
    return lambda bundle: dataclasses.replace(bundle, environment=f"{bundle.environment}\n\n{text}\n")


def with_seed(text: str) -> Change:
    return lambda bundle: dataclasses.replace(bundle, seed_sql=f"{bundle.seed_sql}\n{text}\n")


def in_tool(name: str, **parts: Any) -> Change:
    def change(bundle: model.Bundle) -> model.Bundle:
        assert name in {tool["name"] for tool in bundle.tools}
        tools = tuple({**tool, **parts} if tool["name"] == name else tool for tool in bundle.tools)
        return dataclasses.replace(bundle, tools=tools)

    return change


def in_task(task_id: str, **parts: Any) -> Change:
    def change(bundle: model.Bundle) -> model.Bundle:
        assert bundle.task(task_id) is not None
        tasks = tuple(task.model_copy(update=parts) if task.id == task_id else task for task in bundle.tasks)
        return dataclasses.replace(bundle, tasks=tasks)

    return change


def in_oracle(task_id: str, edit: Callable[[model.Oracle], model.Oracle | None]) -> Change:
    def change(bundle: model.Bundle) -> model.Bundle:
        task = bundle.task(task_id)
        assert task is not None
        assert task.oracle is not None
        return in_task(task_id, oracle=edit(task.oracle))(bundle)

    return change


def in_verifier(task_id: str, old: str, new: str) -> Change:
    def change(bundle: model.Bundle) -> model.Bundle:
        source = bundle.verifiers[task_id, "code"]
        assert old in source, old
        return dataclasses.replace(
            bundle, verifiers={**bundle.verifiers, (task_id, "code"): source.replace(old, new, 1)}
        )

    return change


def with_evidence(task_id: str, body: str) -> Change:
    """A sql mode verifier in place of the code mode one."""

    def change(bundle: model.Bundle) -> model.Bundle:
        source = f"def verify_task(initial_db_path, final_db_path):\n    {body}\n"
        return dataclasses.replace(bundle, verifiers={(task_id, "sql"): source})

    return change


def in_scenario(**parts: Any) -> Change:
    return lambda bundle: dataclasses.replace(bundle, scenario=bundle.scenario.model_copy(update=parts))


def both(*changes: Change) -> Change:
    def change(bundle: model.Bundle) -> model.Bundle:
        for each in changes:
            bundle = each(bundle)
        return bundle

    return change


def without_table(name: str) -> Change:
    def change(bundle: model.Bundle) -> model.Bundle:
        seed, count = re.subn(rf"INSERT INTO {name} .*?;\n", "", bundle.seed_sql, flags=re.DOTALL)
        assert count
        return dataclasses.replace(bundle, seed_sql=seed)

    return change


def last_call(**parts: Any) -> Callable[[model.Oracle], model.Oracle]:
    def edit(oracle: model.Oracle) -> model.Oracle:
        return oracle.model_copy(update={"calls": (*oracle.calls[:-1], oracle.calls[-1].model_copy(update=parts))})

    return edit
