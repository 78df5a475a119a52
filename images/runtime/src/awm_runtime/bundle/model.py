"""What a bundle holds, as frozen values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pydantic

from awm_runtime import errors, names
from awm_runtime.contract import verdicts
from awm_runtime.determinism import clock as clocks

FORMAT: Literal["awm-bundle/1"] = "awm-bundle/1"
DERIVED = frozenset({"digest", "counts", "tier"})
"""The fields of `scenario.json` that are computed from the rest, and are no part of the identity."""

Tier = Literal["gold", "silver", "bronze", "quarantined"]
Action = Literal["mended", "dropped", "resolved", "noted"]
_SOURCE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
VerifierKey = tuple[str, verdicts.Mode]


def _moment(value: object) -> object:
    return clocks.parse(value) if isinstance(value, str) else value


def _is_empty(value: tuple[str, ...]) -> bool:
    return not value


Moment = Annotated[
    pydantic.AwareDatetime,
    pydantic.BeforeValidator(_moment),
    pydantic.PlainSerializer(clocks.render, return_type=str, when_used="json"),
]


class _Frozen(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class User(_Frozen):
    """Who the scenario's signed-in user is."""

    id: int = 1


class Provenance(_Frozen):
    """Where a bundle comes from."""

    source: str
    license: str | None = None
    model: str | None = None
    prompts: str | None = None


class Counts(_Frozen):
    """How much is in a bundle."""

    tables: int
    rows: int
    tools: int
    tasks: int


class Scenario(_Frozen):
    """`scenario.json`."""

    format: Literal["awm-bundle/1"] = FORMAT
    name: str = pydantic.Field(min_length=1, max_length=200)
    title: str
    description: str = ""
    tags: tuple[Annotated[str, pydantic.Field(min_length=1, max_length=50)], ...] = pydantic.Field(
        (), exclude_if=_is_empty, description="What catalogues are filtered by."
    )
    generation: int = pydantic.Field(1, ge=1)
    clock: Moment
    user: User = User()
    foreign_keys: Literal["on", "off"] = "on"
    isolation: Literal["shared", "process"] = "shared"
    provenance: Provenance
    tier: Tier | None = None
    counts: Counts | None = None
    digest: str | None = None

    @pydantic.field_validator("name")
    @classmethod
    def _is_normalised(cls, value: str) -> str:
        if names.normalise(value) != value:
            raise ValueError(f"not a scenario name: write {names.normalise(value)!r}")
        return value


class OracleCall(_Frozen):
    """One tool call of an oracle; its reply is kept under `save`."""

    tool: str
    arguments: dict[str, Any] = {}
    save: str | None = None


class Oracle(_Frozen):
    """Calls that solve a task. `{"$from": EXPRESSION}` in arguments or answer is JMESPath over the saved replies."""

    calls: tuple[OracleCall, ...] = ()
    answer: Any = None


class Task(_Frozen):
    """A line of `tasks.jsonl`. The id is part of a file name, so it is kept plain."""

    id: str = pydantic.Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$")
    instruction: str
    split: Literal["train", "test"] = "train"
    difficulty: str | None = None
    answer: str | None = None
    oracle: Oracle | None = None


class Finding(_Frozen):
    """Something that is wrong with a bundle, or was.

    Attributes:
        kind: What, for programs, for example `missing_parenthesis`.
        stage: Where it was found: `db`, `sample`, `tasks`, `verifier`, `spec`, `env`.
        subject: The table, task, route or file that it is about.
        action: What was done about it.
        detail: One sentence for people.
    """

    kind: str
    stage: str
    subject: str = ""
    action: Action = "noted"
    detail: str


class Report(pydantic.BaseModel):
    """`report.json`: what gates and the importer found. Other gates add their own fields."""

    model_config = pydantic.ConfigDict(extra="allow", frozen=True)

    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Bundle:
    """A scenario at one generation.

    Attributes:
        root: The folder that it was read from, or is to be written to.
        tools: The tool list as served.
        verifiers: Source code by task id and mode.
        source: Texts under `source/` by file name: an import's originals that have no other place.
    """

    root: Path
    scenario: Scenario
    tasks: tuple[Task, ...]
    schema_sql: str
    seed_sql: str
    environment: str
    spec: Mapping[str, Any]
    tools: tuple[Mapping[str, Any], ...]
    verifiers: Mapping[VerifierKey, str] = field(default_factory=dict)
    report: Report = field(default_factory=Report)
    source: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses keys that would name files of another place.

        Raises:
            BundleError: a verifier is of no task, or a source's name is not a plain file name.
        """
        tasks = {task.id for task in self.tasks}
        for task, mode in self.verifiers:
            if task not in tasks or mode not in get_args(verdicts.Mode):
                raise errors.BundleError(f"{self.root}: verifiers/{task}.{mode}.py: tasks.jsonl has no task {task!r}")
        for name in self.source:
            if not _SOURCE_NAME.fullmatch(name):
                raise errors.BundleError(f"{self.root}: source/{name}: not a plain file name")

    @property
    def clock(self) -> datetime:
        """The frozen clock that episodes start at."""
        return self.scenario.clock

    def task(self, task_id: str) -> Task | None:
        """The task with this id, if there is one."""
        return next((task for task in self.tasks if task.id == task_id), None)
