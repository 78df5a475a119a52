"""Writes `docs/gates.md`, the page about gates, from the gates' own words.

`.venv/bin/python docs/generate_gates.py`
"""

from collections.abc import Iterator
from pathlib import Path

from awm_generator.gates import hosting, mutants, probing, protocol, registry, walking, worker

PAGE = Path(__file__).with_name("gates.md")
HEAD = """<!-- Made by docs/generate_gates.py from the gates; do not edit. -->

# Gates

`awm gate BUNDLE...` examines bundles and gives each a tier. What it finds goes into the bundle's `report.json` under
`gates`, the tier into `scenario.json`; neither is part of the bundle's identity. `--cards DIR` writes a Markdown card
per bundle. `awm bundle import FILES --out bundles --gate` does the same for what comes in.

```console
$ awm gate bundles                                    # all gates, as many bundles at a time as there are processors
$ awm gate bundles/rover --level static               # only what its text says
$ awm gate bundles --jobs 4 --cards cards --json
```

| tier | means |
| --- | --- |
| gold | it passes all gates: every task is known to be solvable, and near misses are known to fail |
| silver | it passes the static and runtime gates, and no verifier rewards nothing |
| bronze | it can be served: a gate fails, an import dropped a part, or not all levels were run |
| quarantined | it is of no use as it is; the reasons are named |

| severity | means |
| --- | --- |
| quarantine | the bundle is quarantined, and later levels are not run |
| fail | no gold; of a static or runtime gate, `semantic.untouched` or `semantic.answerless`: no silver |
| warn | it is told, and costs nothing |

| exit code | means |
| --- | --- |
| 0 | all bundles were gated, and none is quarantined |
| 1 | none could be gated |
| 3 | some are quarantined, cannot be read, or could not be told their report; each is named on standard error |

A bundle that has a report of the same gates on the same content, up to this level, is not gated again; `--again` does
it anyway. After Ctrl-C the next run goes on with the rest.

## How they run

Each bundle is examined in a confined process of its own, forked from a worker that never runs scenario code: no
network, no programs, no files but its own folder, limits on memory, processor time and disk, and a deadline for each
phase ({phases}). What loops, forks, fills memory or disk, or exits is ended and reported, and the next bundle
follows. Calls go through real episodes, as an instance makes them but without HTTP; one that takes longer than
{call:g} s counts as unanswered. Verifiers run where they run for an instance: in a judge's confined children. The
gates find mistakes, not malice: code that sets out to forge the reports about itself can.

- **Probes**: five per tool, by a recipe that others can repeat (below).
- **Walks**: two seeded sequences of {calls} random calls, whose arguments come from the schemas, the seed and earlier
  replies; one of them is replayed, both are interleaved, one is repeated after a reset.
- **Trials**: for each task nothing at all, the oracle, the oracle without its answer, up to {mutants} mutants,
  equivalents, and the solved state with one row edited or removed that the oracle did not touch. A mutant that comes
  to what the oracle comes to (but for generated ids and times of record) is none.

A finding carries a counterexample (request, reply, trace, changed rows) of less than 500 tokens, made to be sent back
to a model.

## The probes

"""


def page() -> str:
    """The page as it should be."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    phases = ", ".join(f"{name} {seconds:g} s" for name, seconds in worker.PHASE_S.items())
    head = HEAD.format(phases=phases, call=hosting.CALL_DEADLINE_S, calls=walking.CALLS, mutants=mutants.MOST)
    recipe = (probing.__doc__ or "").partition("document:\n\n")[2].rstrip()
    yield f"{head}{recipe}"
    for level in protocol.LEVELS:
        yield ""
        yield f"## {level.capitalize()} gates"
        for gate in registry.of(level):
            yield from _gate(gate)


def _gate(gate: protocol.AnyGate) -> Iterator[str]:
    yield ""
    yield f"### {gate.id}"
    yield ""
    yield f"{gate.checks} Severity: {gate.severity}."
    yield ""
    yield "```text"
    yield gate.example
    yield "```"
    yield ""
    yield f"To mend it: {gate.mend[0].lower()}{gate.mend[1:]}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
