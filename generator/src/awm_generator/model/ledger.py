"""What a run took: tokens and cost per stage and scenario, written down reply by reply; and the limit on it."""

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from awm_generator import errors
from awm_generator.model import language, prices


class _Charged(Protocol):
    @property
    def usage(self) -> language.Usage: ...


_Answer = TypeVar("_Answer", bound=_Charged)


@dataclass
class Spent:
    """What some replies took.

    Attributes:
        cost: In US dollars, of the replies whose price is known.
        unpriced: How many replies have no known price.
    """

    replies: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    unpriced: int = 0

    def add(self, usage: language.Usage, cost: float | None) -> None:
        """Counts one reply."""
        self.replies += 1
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens
        self.cost += cost or 0.0
        self.unpriced += cost is None


class Ledger:
    """The file that all replies of a folder's runs are written down in, with their sums.

    Args:
        path: The file.

    Attributes:
        total: The sum of all runs.
        stages: The sums by stage.
    """

    def __init__(self, path: Path) -> None:
        self.total = Spent()
        self.stages: defaultdict[str, Spent] = defaultdict(Spent)
        self._path = path
        for entry in entries(path):
            self._count(entry)

    def record(self, *, model: str, stage: str, scenario: str, usage: language.Usage, cost: float | None) -> None:
        """Writes one reply down."""
        entry = {
            "stage": stage,
            "scenario": scenario,
            "model": model,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cost": cost,
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, f"{json.dumps(entry, ensure_ascii=False)}\n".encode())
        finally:
            os.close(descriptor)
        self._count(entry)

    def _count(self, entry: dict[str, Any]) -> None:
        usage = language.Usage(entry["input_tokens"], entry["output_tokens"])
        for spent in (self.total, self.stages[entry["stage"]]):
            spent.add(usage, entry["cost"])


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a ledger; a torn one, as a killed process leaves it, is passed over."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                entry = json.loads(line)
                language.Usage(entry["input_tokens"], entry["output_tokens"])
                entry["stage"], entry["cost"]
            except (ValueError, KeyError, TypeError):
                continue
            yield entry


class Metered:
    """Writes each reply into a ledger, and stops asking when a run has cost what it may.

    Where there is a limit, a request waits while those under way may come to the rest of it, each taken to cost as much
    as the dearest so far; so the limit is passed by one reply at most.

    Args:
        model: The model to ask.
        ledger: Where replies are written down.
        table: What tokens cost.
        most: US dollars that the folder's runs may cost together; None for no limit.

    Raises:
        GenerationError: there is a limit, and the model's price is not known.
    """

    def __init__(
        self, model: language.LanguageModel, ledger: Ledger, *, table: prices.Prices, most: float | None
    ) -> None:
        if most is not None and not table.knows(model.name):
            raise errors.GenerationError(
                f"--max_cost needs the price of {model.name!r}, and no table has it: give a file with --prices, "
                f'for example ["{model.name}"] with input = 1.0 and output = 4.0'
            )
        self.name, self.embedding_name = model.name, model.embedding_name
        self._model, self._ledger, self._table, self._most = model, ledger, table, most
        self._under_way = 0
        self._dearest: float | None = None
        self._settled = asyncio.Condition()

    async def complete(self, request: language.Request) -> language.Reply:
        """See `LanguageModel`.

        Raises:
            BudgetSpent: the run has cost what it may.
        """
        return await self._charged(
            self.name, lambda: self._model.complete(request), stage=request.stage, scenario=request.scenario
        )

    async def embed(self, texts: Sequence[str]) -> language.Embedded:
        """See `LanguageModel`."""
        return await self._charged(
            self.embedding_name, lambda: self._model.embed(texts), stage="embedding", scenario=""
        )

    async def _charged(
        self, model: str, ask: Callable[[], Awaitable[_Answer]], *, stage: str, scenario: str
    ) -> _Answer:
        await self._admitted()
        try:
            answer = await ask()
            cost = self._table.cost(model, answer.usage)
            self._ledger.record(model=model, stage=stage, scenario=scenario, usage=answer.usage, cost=cost)
            self._dearest = max(self._dearest or 0.0, cost or 0.0)
            return answer
        finally:
            self._under_way -= 1
            async with self._settled:
                self._settled.notify_all()

    async def _admitted(self) -> None:
        """Waits until one more request cannot pass the limit by more than itself."""
        if self._most is not None:
            async with self._settled:
                await self._settled.wait_for(self._decided)
            if self._ledger.total.cost >= self._most:
                raise errors.BudgetSpent(
                    f"stopped at ${self._ledger.total.cost:.4f} of the ${self._most:.4f} that --max_cost allows; "
                    "run the same command with a higher limit to go on"
                )
        self._under_way += 1

    def _decided(self) -> bool:
        assert self._most is not None
        if self._under_way == 0 or self._ledger.total.cost >= self._most:
            return True
        if self._dearest is None:  # nothing is known yet: one reply has to tell what replies cost
            return False
        return self._ledger.total.cost + self._under_way * self._dearest < self._most
