"""The rows of `gen_oracle.jsonl`, which is ours: what proves that tasks can be solved, and what that took to mend."""

import pydantic

from awm_generator.awm_files import rows
from awm_runtime.bundle import model

FILE = "gen_oracle.jsonl"


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


class OracleRow(rows.Row):
    """A row of `gen_oracle.jsonl`."""

    oracles: tuple[Solution, ...]
    repairs: Repairs = Repairs()


def applied(originals: rows.Originals, row: OracleRow) -> rows.Originals:
    """The rows of a scenario with the repairs in them."""
    repairs = row.repairs
    single = dict(originals.single)
    for file, kept in originals.single.items():
        if isinstance(kept, rows.TasksRow):
            texts = tuple(repairs.tasks.get(number, text) for number, text in enumerate(kept.tasks))
            single[file] = kept.model_copy(update={"tasks": texts})
        elif isinstance(kept, rows.EnvRow) and repairs.full_code is not None:
            single[file] = kept.model_copy(update={"full_code": repairs.full_code})
    mended = [
        rows.VerifierRow(
            scenario=originals.name,
            task_idx=number,
            task=repairs.tasks.get(number, ""),
            verification=rows.Verification(code=source),
        )
        for number, source in repairs.verifiers.items()
    ]
    # Of several verifiers of a mode the last one counts, but a mended one is no duplicate.
    kept_rows = [each for each in originals.verifiers if each.task_idx not in repairs.verifiers]
    return rows.Originals(originals.name, single, kept_rows + mended, originals.repeated, originals.unusable)
