"""What comes of one scenario in one stage."""

from dataclasses import dataclass

from awm_generator.awm_files import drafts, rows

Quarantined = drafts.Quarantined


@dataclass(frozen=True)
class Casualty:
    """A part of a scenario that a stage had to leave out.

    Attributes:
        subject: What, for example `task 3`.
        reason: Why, in one line.
        detail: What was tried, for the scenario's author.
    """

    subject: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Outcome:
    """The rows that a stage made of a scenario, and what of it was left out."""

    rows: tuple[rows.Row, ...]
    casualties: tuple[Casualty, ...] = ()
