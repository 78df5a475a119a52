"""The errors of the built-in provider.

```text
PermanentError
├── BlueprintError       a blueprint or module is wrong: file, line and field are named
├── VarietyError         more scenarios are wanted than can be made different
├── OutputInUseError     another run writes into the folder
└── CompilationError     a compiled scenario is not what was planned: a defect of blueprint or compiler
    └── ExpressionError  an expression of a blueprint has no value for some row
```
"""

from dataclasses import dataclass
from pathlib import Path

from awm_runtime import errors


@dataclass(frozen=True)
class Place:
    """Where something stands in a blueprint file."""

    file: Path
    line: int
    field: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.field}"


class BlueprintError(errors.PermanentError):
    """A blueprint or module cannot be used; the message begins with the place."""

    def __init__(self, place: Place, complaint: str) -> None:
        super().__init__(f"{place}: {complaint}")
        self.place = place
        self.complaint = complaint


class VarietyError(errors.PermanentError):
    """More scenarios were asked for than can be made different; says how many there are, and why."""


class OutputInUseError(errors.PermanentError):
    """Another run writes into the output folder at this moment."""


class CompilationError(errors.PermanentError):
    """A compiled scenario does not do what was planned; the message names blueprint, task and difference."""


class ExpressionError(CompilationError):
    """An expression of a blueprint cannot be computed for a row: it reckons with what is not there.

    Attributes:
        text: The expression, as it stands in the blueprint.
    """

    def __init__(self, text: str, entity: str, reason: str) -> None:
        if "NoneType" in reason:
            reason = "a value in it may be empty; ask first whether it `is not None`, or let its field not be optional"
        super().__init__(f"{entity}: {text!r} cannot be computed for every row: {reason}")
        self.text = text
