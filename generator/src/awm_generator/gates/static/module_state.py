"""The code keeps no state in its module, or each of its episodes gets a process."""

from collections.abc import Iterator

from awm_generator.awm_files import module_state
from awm_generator.gates import protocol, subjects


def find(subject: subjects.Subject) -> Iterator[protocol.Found]:
    """A defect per place that changes the module, where episodes share it."""
    if subject.bundle.scenario.isolation == "process":
        return
    for change in module_state.mutations(subject.bundle.environment):
        line, _, what = change.partition(": ")
        yield protocol.Found(line, f"{what} in a function, and all episodes share the module", {"change": what})


GATE = protocol.Gate(
    id="static.module-state",
    severity="quarantine",
    checks="No function changes its module's variables, unless scenario.json says `isolation: process`.",
    example="line 40: _cache[...] is set in a function, and all episodes share the module",
    mend="Keep it in a table; or set isolation to process, which costs a process per episode.",
    find=find,
)
