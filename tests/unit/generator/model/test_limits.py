"""Which requests are tried again, how many at a time, and what ends a run."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence

import pytest

from awm_generator import errors
from awm_generator.model import language, limits, scripted

IMPATIENT = limits.Patience(overloaded_s=0.05, failing_s=0.02, first_pause_s=0.001, longest_pause_s=0.01)
ASKED = language.Request(messages=(language.Message("user", "?"),))


def limited(
    answer: Callable[[language.Request], str], *, most: int = 4, patience: limits.Patience = IMPATIENT
) -> tuple[limits.Limited, scripted.ScriptedModel]:
    model = scripted.ScriptedModel(answer)
    return limits.Limited(model, most, patience=patience, dice=random.Random(1)), model


def failing(times: int, error: Exception) -> Callable[[language.Request], str]:
    left = iter(range(times))

    def answer(_: language.Request) -> str:
        if next(left, None) is not None:
            raise error
        return "done"

    return answer


@pytest.mark.parametrize("error", [errors.ModelUnavailable("500"), errors.ModelUnavailable("429", overloaded=True)])
def test_what_may_succeed_is_asked_again(error: Exception) -> None:
    model, inner = limited(failing(3, error))
    assert asyncio.run(model.complete(ASKED)).text == "done"
    assert len(inner.requests) == 4


def test_nobody_asks_before_retry_after() -> None:
    async def work() -> float:
        began = asyncio.get_running_loop().time()
        model, _ = limited(failing(1, errors.ModelUnavailable("429", retry_after_s=0.2, overloaded=True)))
        await model.complete(ASKED)
        return asyncio.get_running_loop().time() - began

    assert asyncio.run(work()) >= 0.2


def test_patience_ends() -> None:
    model, _ = limited(failing(10_000, errors.ModelUnavailable("the endpoint is down")))
    with pytest.raises(errors.ModelUnavailable, match="is down"):
        asyncio.run(model.complete(ASKED))


def test_a_refusal_is_met_once_and_told_to_all() -> None:
    async def work() -> list[object]:
        model, inner = limited(failing(10_000, errors.ModelRefused("wrong key")), most=1)
        told = await asyncio.gather(*(model.complete(ASKED) for _ in range(50)), return_exceptions=True)
        return [len(inner.requests), *map(str, told)]

    met, *told = asyncio.run(work())
    assert met == 1
    assert told == ["wrong key"] * 50


def test_a_refused_request_is_no_reason_to_stop() -> None:
    model, _ = limited(failing(1, errors.RequestRefused("too long")))
    with pytest.raises(errors.RequestRefused):
        asyncio.run(model.complete(ASKED))
    assert asyncio.run(limited(failing(0, ValueError()))[0].complete(ASKED)).text == "done"


class Crowded:
    """Refuses requests while more than `room` are under way, as a busy endpoint does."""

    name = embedding_name = "crowded"

    def __init__(self, room: int) -> None:
        self._room = room
        self.inside = self.most = self.refused = 0

    async def complete(self, _: language.Request) -> language.Reply:
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await asyncio.sleep(0.002)
            if self.inside > self._room:
                self.refused += 1
                raise errors.ModelUnavailable("429", overloaded=True)
            return language.Reply(text="done")
        finally:
            self.inside -= 1

    async def embed(self, _: Sequence[str]) -> language.Embedded:
        raise NotImplementedError


def test_the_limit_holds() -> None:
    async def work() -> int:
        crowd = Crowded(100)
        model = limits.Limited(crowd, 7, patience=IMPATIENT, dice=random.Random(1))
        await asyncio.gather(*(model.complete(ASKED) for _ in range(60)))
        return crowd.most

    assert asyncio.run(work()) == 7


def test_a_busy_endpoint_is_asked_less_and_all_get_through() -> None:
    async def work() -> Crowded:
        crowd = Crowded(4)
        patience = limits.Patience(overloaded_s=60, first_pause_s=0.001, longest_pause_s=0.01)
        model = limits.Limited(crowd, 32, patience=patience, dice=random.Random(1))
        await asyncio.gather(*(model.complete(ASKED) for _ in range(300)))
        return crowd

    crowd = asyncio.run(work())
    # Without a smaller limit nearly every try of the 32 at once would be refused.
    assert crowd.refused < 300


def test_the_limit_is_halved_once_a_wave_also_where_none_of_it_got_a_reply() -> None:
    async def work() -> list[int]:
        gate, seen = limits.Gate(32), []
        for _ in range(7):
            async with contextlib.AsyncExitStack() as inside:
                waves = [await inside.enter_async_context(gate.passed()) for _ in range(gate.limit)]
                for wave in waves:
                    gate.narrow(wave, 0.0)
            seen.append(gate.limit)
        return seen

    assert asyncio.run(work()) == [16, 8, 4, 2, 1, 1, 1]
