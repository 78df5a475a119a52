"""No call ends the process, or holds it for good. What finds it is the process outside, which is told here."""

from collections.abc import Iterator

from awm_generator.gates import observing, protocol


def find(_seen: observing.Observed) -> Iterator[protocol.Found]:
    """Nothing: whoever can look at calls has survived them."""
    yield from ()


GATE = protocol.Gate(
    id="runtime.survives",
    severity="quarantine",
    checks="Whatever is called, the process lives on, within its memory and disk, and answers again.",
    example='the process ended (signal 9) in search_orders {"pattern": "(a+)+$"}',
    mend="Bound loops and regular expressions by the size of their input; do not read without a limit.",
    find=find,
)
