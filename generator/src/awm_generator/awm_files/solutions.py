"""Puts what `gen_oracle.jsonl` says of a scenario into its other rows."""

import dataclasses

from awm_generator.awm_files import rows


def applied(originals: rows.Originals) -> rows.Originals:
    """The rows of a scenario with the repairs in them that solving its tasks took."""
    row = originals.row(rows.OracleRow)
    if row is None:
        return originals
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
    return dataclasses.replace(originals, single=single, verifiers=kept_rows + mended)
