"""The rows of AWM's JSON Lines files, read and joined by scenario."""

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import pydantic

from awm_runtime import errors, names
from awm_runtime.bundle import model

_Row = TypeVar("_Row", bound="Row")
_Part = TypeVar("_Part", "Table", "TableSample")
_LONGEST_NAME = 200  # as in a bundle; it becomes the name of a folder
_DEEPEST = 100  # pydantic writes no more than 255


class Row(pydantic.BaseModel):
    """A row of any of the files."""

    # What else a row holds is kept, so that a bundle's source/ has all of it.
    model_config = pydantic.ConfigDict(extra="allow", frozen=True)

    scenario: str


class ScenarioRow(Row):
    """A row of `gen_scenario.jsonl`."""

    scenario: str = pydantic.Field(alias="name")
    description: str = ""


class TasksRow(Row):
    """A row of `gen_tasks.jsonl`; a task's place in the list is its id."""

    tasks: tuple[Any, ...]


def _listed(value: object) -> object:
    return () if value is None else value if isinstance(value, list | tuple) else (value,)


@dataclass(frozen=True)
class Misfit:
    """An entry of a row that is not of the shape that it should be.

    Attributes:
        name: Which table it is about, as far as it says.
        complaint: What is wrong with it.
    """

    name: str
    complaint: str


_Entries = Annotated[tuple[Any, ...], pydantic.BeforeValidator(_listed)]
"""A list that may hold entries of no use: each is for its reader to name. Null is none, another value is one."""


class Table(pydantic.BaseModel):
    """A table of a `gen_db.jsonl` row."""

    model_config = pydantic.ConfigDict(frozen=True)

    NAME: ClassVar = "name"

    name: str
    ddl: str = pydantic.Field(pattern=r"\S")
    indexes: _Entries = ()

    @property
    def statements(self) -> tuple[Any, ...]:
        """The DDL and the indexes; not all need be text."""
        return (self.ddl, *self.indexes)


class Schema(pydantic.BaseModel):
    """The `db_schema` of a `gen_db.jsonl` row; `parts` tells its tables from what is of no use."""

    model_config = pydantic.ConfigDict(extra="allow", frozen=True)

    tables: tuple[Any, ...]


class DbRow(Row):
    """A row of `gen_db.jsonl`."""

    db_schema: Schema


class TableSample(pydantic.BaseModel):
    """The inserts of one table in a `gen_sample.jsonl` row."""

    model_config = pydantic.ConfigDict(frozen=True)

    NAME: ClassVar = "table_name"

    name: str = pydantic.Field(alias="table_name")
    reasoning: Any = ""
    statements: _Entries = pydantic.Field(default=(), alias="insert_statements")


class Samples(pydantic.BaseModel):
    """The `sample_data` of a `gen_sample.jsonl` row; `parts` tells its tables from what is of no use."""

    model_config = pydantic.ConfigDict(extra="allow", frozen=True)

    tables: tuple[Any, ...]


class SampleRow(Row):
    """A row of `gen_sample.jsonl`."""

    sample_data: Samples


class SpecRow(Row):
    """A row of `gen_spec.jsonl`."""

    api_spec: dict[str, Any]


class EnvRow(Row):
    """A row of `gen_envs.jsonl`."""

    full_code: str


class Verification(pydantic.BaseModel):
    """The `verification` of a verifier row."""

    model_config = pydantic.ConfigDict(extra="allow", frozen=True)

    code: str | None = None


class VerifierRow(Row):
    """A row of a verifier file, of either mode."""

    task_idx: int = pydantic.Field(gt=-(10**9), lt=10**9)  # becomes a part of a file name
    task: str = ""
    verification: Verification = Verification()


class SidecarRow(Row):
    """A row of `awm_bundle.jsonl`: what the other files cannot carry, and the hash of the rows that it belongs to."""

    rows: str
    bundle: dict[str, Any]


class Solution(pydantic.BaseModel):
    """The oracle of one task."""

    model_config = pydantic.ConfigDict(frozen=True)

    task_idx: int
    oracle: model.Oracle


class Repairs(pydantic.BaseModel):
    """What had to be mended before the tasks could be solved; it stands in place of the other files' rows.

    Attributes:
        tasks: Texts by task number.
        verifiers: Sources by task number.
        full_code: The module, or None.
    """

    model_config = pydantic.ConfigDict(frozen=True)

    tasks: dict[int, str] = {}
    verifiers: dict[int, str] = {}
    full_code: str | None = None


class OracleRow(Row):
    """A row of `gen_oracle.jsonl`, which is ours: what proves that tasks can be solved, and what that took to mend."""

    oracles: tuple[Solution, ...]
    repairs: Repairs = Repairs()


SIDECAR = "awm_bundle.jsonl"
ORACLES = "gen_oracle.jsonl"
REQUIRED = ("gen_envs.jsonl", "gen_db.jsonl")
EXPECTED = ("gen_tasks.jsonl", "gen_sample.jsonl", "gen_spec.jsonl")
VERIFIERS = ("gen_verifier.jsonl", "gen_verifier.pure_code.jsonl")
KINDS: dict[str, type[Row]] = {
    "gen_scenario.jsonl": ScenarioRow,
    "gen_tasks.jsonl": TasksRow,
    "gen_db.jsonl": DbRow,
    "gen_sample.jsonl": SampleRow,
    "gen_spec.jsonl": SpecRow,
    "gen_envs.jsonl": EnvRow,
    SIDECAR: SidecarRow,
    ORACLES: OracleRow,
}


@dataclass
class Originals:
    """All rows of one scenario, by file.

    Attributes:
        repeated: Files with more than one usable row for it; the last one counts.
        unusable: Files with a row for it that is not of the shape that it should be, and what is wrong with it.
    """

    name: str
    single: dict[str, Row] = field(default_factory=dict)
    verifiers: list[VerifierRow] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    unusable: list[tuple[str, str]] = field(default_factory=list)

    def row(self, kind: type[_Row]) -> _Row | None:
        """The row of one kind, if there is one."""
        return next((row for row in self.single.values() if isinstance(row, kind)), None)

    @property
    def exists(self) -> bool:
        """Whether there is code or a schema, so that the other rows are about something."""
        return any(file in REQUIRED for file in (*self.single, *(file for file, _ in self.unusable)))

    @property
    def title(self) -> str:
        """The name for display; files that join on the normalised one do not have it."""
        given = [row.scenario for row in (*self.single.values(), *self.verifiers)]
        return next((name for name in given if name != self.name), self.name)


def with_oracles(originals: Originals, row: OracleRow) -> Originals:
    """The rows of a scenario with other oracles."""
    return dataclasses.replace(originals, single={**originals.single, ORACLES: row})


def load(folder: Path) -> dict[str, Originals]:
    """The rows of all AWM files in `folder`, joined on the normalised scenario name, in the order of the code's file.

    Raises:
        BundleError: the folder or a needed file is missing, or a line is broken; the message names file and line.
    """
    if not folder.is_dir():
        raise errors.BundleError(f"{folder}: no such folder; give the one that holds gen_envs.jsonl and gen_db.jsonl")
    for file in REQUIRED:
        if not (folder / file).exists():
            raise errors.BundleError(f"{folder / file}: missing; an import needs {' and '.join(REQUIRED)}")
    return join({file: folder / file for file in (*KINDS, *VERIFIERS)})


def join(files: Mapping[str, Path]) -> dict[str, Originals]:
    """The rows of some AWM files, joined on the normalised scenario name, in the order of the code's file.

    Args:
        files: Where each file is, by the name that it is known by.

    Raises:
        BundleError: a line is broken; the message names file and line.
    """
    joined: dict[str, Originals] = {}
    singles = (*REQUIRED, *(file for file in KINDS if file not in REQUIRED))
    kinds: dict[str, type[Row]] = {**{file: KINDS[file] for file in singles}, **dict.fromkeys(VERIFIERS, VerifierRow)}
    for file, kind in kinds.items():
        for number, value in _values(files[file]) if file in files else ():
            name = _name(value, kind, f"{files[file]}:{number}")
            originals = joined.setdefault(name, Originals(name))
            try:
                row = _validated(value, kind, f"line {number}")
            except errors.BundleError as exc:
                originals.unusable.append((file, str(exc)))
                continue
            if isinstance(row, VerifierRow):
                originals.verifiers.append(row)
                continue
            if file in originals.single:
                originals.repeated.append(file)
            originals.single[file] = row
    return joined


def read(path: Path, kind: type[_Row]) -> Iterator[_Row]:
    """The rows of one file; none where there is no file.

    Raises:
        BundleError: a line is broken; the message names file and line.
    """
    for number, value in _values(path):
        _name(value, kind, f"{path}:{number}")
        yield _validated(value, kind, f"{path}:{number}")


def parsed(line: bytes, kind: type[_Row], place: str) -> _Row:
    """The row that one line holds.

    Raises:
        BundleError: the line is broken; the message begins with `place`.
    """
    value = _parsed(line.strip(), place)
    _name(value, kind, place)
    return _validated(value, kind, place)


def _values(path: Path) -> Iterator[tuple[int, Any]]:
    """The JSON values of a file's lines, each with its line's number."""
    if not path.exists():
        return
    try:
        # Bytes, not text: only a line feed ends a line of JSON Lines.
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, _parsed(line.strip(), f"{path}:{number}")
    except OSError as exc:
        raise errors.BundleError(f"{path}: cannot be read: {exc.strerror}") from exc


def parts(values: Iterable[Any], kind: type[_Part]) -> Iterator[_Part | Misfit]:
    """The entries of a list in a row, in their order."""
    for number, value in enumerate(values):
        try:
            yield kind.model_validate(value)
        except pydantic.ValidationError as exc:
            named = value.get(kind.NAME) if isinstance(value, dict) else None
            yield Misfit(named if isinstance(named, str) else "tables", f"entry {number}: {_complaint(exc)}")


def joins(title: str, name: str) -> bool:
    """Whether rows under this title are joined as this scenario."""
    return names.normalise(title) == name


def _name(value: object, kind: type[Row], place: str) -> str:
    """The normalised name of the scenario that a row is about."""
    if not isinstance(value, dict):
        raise errors.BundleError(f"{place}: the row: must be a JSON object")
    key = kind.model_fields["scenario"].alias or "scenario"
    name = value.get(key)
    if not isinstance(name, str):
        raise errors.BundleError(f"{place}: {key}: missing, or no text; every row names its scenario")
    normalised = names.normalise(name)
    if not normalised:
        raise errors.BundleError(f"{place}: {key}: {name!r} has no letter or digit to name it by")
    if len(normalised) > _LONGEST_NAME:
        raise errors.BundleError(f"{place}: {key}: {len(normalised)} characters; {_LONGEST_NAME} is the most")
    return normalised


def _parsed(line: bytes, place: str) -> Any:
    try:
        value = json.loads(line.decode("utf-8-sig"), parse_float=_finite, parse_constant=_finite)
        if b"\\u" in line:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeDecodeError as exc:
        raise errors.BundleError(f"{place}: not UTF-8 text (byte {exc.start} of the line)") from exc
    except UnicodeEncodeError as exc:
        raise errors.BundleError(f"{place}: holds half of a surrogate pair, which no text may") from exc
    except json.JSONDecodeError as exc:
        raise errors.BundleError(f"{place}: broken JSON: {exc.msg} (column {exc.colno})") from exc
    except ValueError as exc:  # Python refuses integers of thousands of digits
        raise errors.BundleError(f"{place}: holds a number that is out of range") from exc
    except RecursionError as exc:
        raise errors.BundleError(f"{place}: JSON nested too deeply") from exc
    if _deeper_than(_DEEPEST, value):
        raise errors.BundleError(f"{place}: JSON nested too deeply; {_DEEPEST} levels are the most")
    return value


def _deeper_than(levels: int, value: Any) -> bool:
    """Whether lists and objects are in one another more often than that."""
    level = [value]
    for _ in range(levels + 1):
        level = [part for part in level if isinstance(part, dict | list)]
        if not level:
            return False
        level = [item for part in level for item in (part.values() if isinstance(part, dict) else part)]
    return True


def _finite(text: str) -> float:
    """A number as JSON has it: `NaN` and `1e999` could be read, but not be written again."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _validated(value: object, kind: type[_Row], place: str) -> _Row:
    try:
        return kind.model_validate(value)
    except pydantic.ValidationError as exc:
        raise errors.BundleError(f"{place}: {_complaint(exc)}") from exc


def _complaint(exc: pydantic.ValidationError) -> str:
    first = exc.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the row"
    return f"{where}: {first['msg']}"
