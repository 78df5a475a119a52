"""The code loads and has an app."""

from collections.abc import Iterator

from awm_generator.gates import protocol, subjects


def find(subject: subjects.Subject) -> Iterator[protocol.Found]:
    """A defect where it does not load, or serves no tool at all."""
    if subject.load_error is not None:
        yield protocol.Found(
            "environment.py", str(subject.load_error), {"traceback": subject.load_error.detail[-1500:]}
        )
    elif subject.code is not None and not subject.code.toolset.served:
        yield protocol.Found("environment.py", "its app has no operation, so there is no tool to call")


GATE = protocol.Gate(
    id="static.loads",
    severity="quarantine",
    checks="environment.py is Python that makes a FastAPI app named app, in time, with at least one operation.",
    example="environment.py: its code raised NameError: name 'Sesion' is not defined (line 31)",
    mend="Mend the line that the traceback ends with.",
    find=find,
)
