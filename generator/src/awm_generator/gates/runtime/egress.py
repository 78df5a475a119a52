"""The code reaches for nothing outside."""

from collections.abc import Iterator

from awm_generator.gates import observing, protocol


def find(seen: observing.Observed) -> Iterator[protocol.Found]:
    """A defect per thing that it tried to reach."""
    for event in seen.reached:
        what, _, where = event.partition(" ")
        yield protocol.Found(what, f"a call tried it{f': {where}' if where else ''}; it was refused")


GATE = protocol.Gate(
    id="runtime.egress",
    severity="quarantine",
    checks="No call looks up names, makes connections or starts programs.",
    example="socket.getaddrinfo: a call tried it: mail.example.com; it was refused",
    mend="Write what would be sent into a table; there is no network, and nobody at its other end.",
    find=find,
)
