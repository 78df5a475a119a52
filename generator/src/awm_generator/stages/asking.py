"""Asks a model, tries what it answered, and sends back what is wrong, until it holds or the tries are used up."""

import dataclasses
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pydantic

from awm_generator import errors, prompts
from awm_generator.model import language, shaping
from awm_generator.stages import outcomes

_T = TypeVar("_T")
_Model = TypeVar("_Model", bound=pydantic.BaseModel)

_MOST_PROBLEMS = 6
_LONGEST_PROBLEM = 500
_LONGEST_SUMMARY = 2400


class Broken(Exception):
    """What a reply came to does not hold; the text is for the model."""


class Reply(pydantic.BaseModel):
    """The base of what models answer as JSON: all fields given, none beside them."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, kw_only=True)
class Session:
    """One scenario's talk with the model in one stage.

    Attributes:
        model: Who is asked.
        stage: What for.
        scenario: About which scenario.
        max_retry: How often a reply that does not hold may be mended.
        feedback: What the scenario's author wants to be different.
        salt: Tells this generation's requests from those of earlier ones.
    """

    model: language.LanguageModel
    stage: str
    scenario: str
    max_retry: int
    feedback: str = ""
    salt: str = ""

    async def settle(
        self,
        messages: Sequence[language.Message],
        attempt: Callable[[str], Awaitable[_T]],
        *,
        shape: language.Shape | None = None,
        temperature: float | None = None,
    ) -> _T:
        """What `attempt` makes of a reply that it does not call broken.

        The model sees the task, its last reply and what was wrong with it: earlier tries would only cost.

        Raises:
            Quarantined: the tries are used up, or the endpoint refuses this request.
        """
        asked = self._asked(messages)
        told: list[language.Message] = []
        problems: list[str] = []
        for tried in range(self.max_retry + 1):
            request = language.Request(
                messages=(*asked, *told),
                shape=shape,
                temperature=temperature,
                # A reply that is broken in the same way twice must not come out of the cache a third time.
                salt=f"{self.salt} try {tried + 1}" if tried else self.salt,
                stage=self.stage,
                scenario=self.scenario,
            )
            try:
                reply = await self.model.complete(request)
            except errors.RequestRefused as exc:
                raise outcomes.Quarantined(f"the endpoint refuses it: {exc}") from exc
            try:
                return await attempt(reply.text)
            except Broken as exc:
                problems.append(str(exc))
                repair = prompts.filled("repair", problem=problems[-1])
                told = [language.Message("assistant", reply.text), language.Message("user", repair)]
        raise outcomes.Quarantined(
            f"{self.max_retry + 1} replies did not hold; the last: {problems[-1].splitlines()[0][:300]}",
            detail="\n\n".join(f"Try {number}: {problem}" for number, problem in enumerate(problems, start=1)),
        )

    def _asked(self, messages: Sequence[language.Message]) -> tuple[language.Message, ...]:
        if not self.feedback:
            return tuple(messages)
        *before, last = messages
        text = f"{last.content}\n\n{prompts.filled('feedback', feedback=self.feedback)}"
        return (*before, dataclasses.replace(last, content=text))


def refuted(code: str, problem: str) -> tuple[language.Message, language.Message]:
    """Code that was believed, and what is wrong with it after all, as the talk with the model goes on from there."""
    return (
        language.Message("assistant", f"```python\n{code}```"),
        language.Message("user", prompts.filled("repair", problem=problem)),
    )


def shape(kind: type[pydantic.BaseModel], *, strict: bool = True) -> language.Shape:
    """The JSON that a reply of one kind is."""
    return language.Shape(kind.__name__.strip("_").lower(), kind.model_json_schema(), strict)


def parsed(text: str, kind: type[_Model]) -> _Model:
    """A reply as its kind.

    Raises:
        Broken: it is no JSON, or not of that shape.
    """
    try:
        return kind.model_validate(json.loads(text))
    except RecursionError as exc:
        raise Broken("The JSON is nested too deeply.") from exc
    except json.JSONDecodeError as exc:
        raise Broken(f"The reply is no JSON: {exc.msg} at line {exc.lineno}, column {exc.colno}.") from exc
    except pydantic.ValidationError as exc:
        found = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in exc.errors(include_url=False)]
        raise Broken(summary("The JSON does not have the shape that was asked for", found)) from exc
    except ValueError as exc:
        raise Broken(f"The reply cannot be read: {exc}") from exc


def code(text: str) -> str:
    """The module that a reply holds, in a fence or bare.

    Raises:
        Broken: it holds none.
    """
    source = shaping.fenced(text)
    source = text if source is None else source
    if not source.strip():
        raise Broken("The reply holds no code. Send the whole module in one block fenced with ```python.")
    return f"{source.strip()}\n"


def summary(what: str, problems: Sequence[str]) -> str:
    """Problems as a short text for a model: the first few of them, and how many there are."""
    shown = [f"- {' '.join(problem.split())[:_LONGEST_PROBLEM]}" for problem in problems[:_MOST_PROBLEMS]]
    if len(problems) > _MOST_PROBLEMS:
        shown.append(f"- ... and {len(problems) - _MOST_PROBLEMS} more of the kind")
    return "\n".join((f"{what}:", *shown))[:_LONGEST_SUMMARY]


def numbered(texts: Sequence[Any]) -> str:
    """Tasks as a list that counts from 0, as their numbers do."""
    return "\n".join(f"{number}. {text}" for number, text in enumerate(texts))
