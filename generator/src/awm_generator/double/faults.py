"""Failing on cue: what goes wrong, with which requests, and how often."""

from collections.abc import Iterable
from typing import Literal

import pydantic

from awm_generator import errors

Kind = Literal["429", "500", "503", "quota", "401", "404", "cut", "malformed", "truncated", "slow", "reply"]


class Cue(pydantic.BaseModel):
    """One thing that is to go wrong.

    Attributes:
        fault: What. `reply` answers with `text` in place of the script, `slow` with the script after `delay_s`.
        times: With how many requests; then it is over.
        job: Only with requests for this, as the prompts name it.
        scenario: Only with requests about this one.
        number: Only with requests about this task.
        skip: How many of these requests go well before.
    """

    model_config = pydantic.ConfigDict(extra="forbid")

    fault: Kind
    times: int = pydantic.Field(1, ge=1)
    job: str = ""
    scenario: str = ""
    number: int | None = None
    skip: int = pydantic.Field(0, ge=0)
    delay_s: float = pydantic.Field(1.0, ge=0)
    retry_after_s: float = pydantic.Field(0.0, ge=0)
    text: str = ""

    def fits(self, job: str, scenario: str, number: int) -> bool:
        """Whether it is about such a request."""
        return (
            (not self.job or self.job == job)
            and (not self.scenario or self.scenario.casefold() == scenario.casefold())
            and (self.number is None or self.number == number)
        )


class Cues:
    """The cues that are left.

    Args:
        cues: In the order in which they are used up.
    """

    def __init__(self, cues: Iterable[Cue] = ()) -> None:
        self._left = list(cues)

    def add(self, cue: Cue) -> None:
        """Appends one."""
        self._left.append(cue)

    def take(self, job: str, scenario: str, number: int) -> Cue | None:
        """What is to go wrong with this request, if anything."""
        for cue in self._left:
            if not cue.fits(job, scenario, number):
                continue
            if cue.skip:
                cue.skip -= 1
                continue
            cue.times -= 1
            if not cue.times:
                self._left.remove(cue)
            return cue
        return None


def parsed(text: str) -> Cue:
    """A cue as the command line has it: `429`, `429:3` (three times), `slow:2@env` (with requests for env).

    Raises:
        GenerationError: it is none.
    """
    what, _, job = text.partition("@")
    fault, _, times = what.partition(":")
    try:
        return Cue.model_validate({"fault": fault, "times": times or 1, "job": job})
    except pydantic.ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        raise errors.GenerationError(f"no fault {text!r}: {first['loc'][0]}: {first['msg']}") from exc
