import contextvars
import datetime
import os
import random
import secrets
import uuid
from collections.abc import Iterator
from typing import Any

import frozen
import pytest

from awm_runtime.determinism import context


def value(expression: str) -> Any:
    imports = "from random import *\nimport os, random, secrets, uuid\nfrom uuid import uuid4\nfrom os import urandom"
    return frozen.module(f"{imports}\nresult = {expression}")["result"]


@pytest.fixture(autouse=True)
def running_call() -> Iterator[context.CallContext]:
    with context.entered(frozen.call(1)) as running:
        yield running


DRAWS = [
    "random.random()",
    "choice('abcdefghijklmnopqrstuvwxyz' * 99)",
    "random.choices(range(10**9), k=3)",
    "random.sample(range(10**9), 3)",
    "random.randint(1, 10**9)",
    "random.randrange(10**9)",
    "random.uniform(0, 1)",
    "random.triangular()",
    "random.gauss(0, 1)",
    "random.normalvariate(0, 1)",
    "random.expovariate(1)",
    "random.betavariate(1, 2)",
    "random.getrandbits(64)",
    "random.randbytes(8)",
    "random.getstate()",
    "random.Random().random()",
    "random.Random(None).getrandbits(64)",
    "random.Random().gauss(0, 1)",
    "random.Random().randbytes(8)",
    "random.Random().sample(range(10**9), 3)",
    "random.SystemRandom().random()",
    "random.SystemRandom(5).randint(1, 10**9)",
    "SystemRandom().choice(range(10**9))",
    "uuid.uuid4()",
    "uuid4()",
    "uuid.uuid1()",
    "secrets.token_bytes()",
    "secrets.token_hex(8)",
    "secrets.token_urlsafe()",
    "secrets.choice(range(10**9))",
    "secrets.randbelow(10**9)",
    "secrets.randbits(64)",
    "secrets.SystemRandom().random()",
    "os.urandom(8)",
    "urandom(8)",
    *(["os.getrandom(8)"] if hasattr(os, "getrandom") else []),
]


@pytest.mark.parametrize("expression", DRAWS)
def test_a_draw_follows_the_episodes_seed_and_the_calls_number(expression: str) -> None:
    drawn = {}
    for seed, number in ((1, 1), (1, 2), (2, 1)):
        with context.entered(frozen.call(number, seed)):
            drawn[seed, number] = value(expression)
        with context.entered(frozen.call(number, seed)):
            assert value(expression) == drawn[seed, number]
    assert len({repr(each) for each in drawn.values()}) == 3


@pytest.mark.parametrize("expression", [each for each in DRAWS if each != "random.getstate()"])
def test_two_draws_of_a_call_differ(expression: str) -> None:
    first, second = value(f"[{expression} for _ in range(2)]")
    assert first != second


def test_every_public_function_of_random_is_seeded() -> None:
    seeded = frozen.module("import random")["random"]
    real = [name for name in random.__all__ if getattr(seeded, name) is getattr(random, name)]
    assert real == []


def test_a_seeded_generator_gives_the_real_sequence() -> None:
    real = random.Random(42)
    assert value("[r := random.Random(42), r.random(), r.gauss(0, 1), r.sample(range(99), 5), r.getrandbits(8)]")[
        1:
    ] == [
        real.random(),
        real.gauss(0, 1),
        real.sample(range(99), 5),
        real.getrandbits(8),
    ]


def test_a_seed_set_later_starts_the_real_sequence() -> None:
    namespace = frozen.module("import random\nr = random.Random(); r.seed('x'); drawn = r.random()")
    assert namespace["drawn"] == random.Random("x").random()


def test_a_generator_made_at_import_serves_each_call_its_own_values() -> None:
    handler = frozen.module("""
        import random, secrets
        rng, system = random.Random(), secrets.SystemRandom()
        def handler(): return rng.random(), rng.gauss(0, 1), system.randrange(10**9)
    """)["handler"]

    def served(number: int) -> object:
        with context.entered(frozen.call(number)):
            return handler()

    first, second = served(1), served(2)
    assert first != second
    assert [served(2), served(1)] == [second, first]


def test_seeding_the_module_lasts_for_the_running_call_only() -> None:
    handler = frozen.module("import random\ndef handler(): return random.random()")["handler"]
    with context.entered(frozen.call(2)):
        untouched = handler()
    frozen.module("import random; random.seed(42)")
    assert handler() == random.Random(42).random()
    with context.entered(frozen.call(2)):
        assert handler() == untouched


def test_seeding_the_module_does_not_repeat_ids() -> None:
    handler = frozen.module("""
        import os, random, secrets, uuid
        def handler():
            random.seed(42)
            return random.random(), uuid.uuid4(), secrets.token_hex(), os.urandom(8), random.Random().random()
    """)["handler"]
    with context.entered(frozen.call(1)):
        first = handler()
    with context.entered(frozen.call(2)):
        second = handler()
    assert [mine == theirs for mine, theirs in zip(first, second, strict=True)] == [True, False, False, False, False]


def test_ids_are_not_made_of_the_numbers_that_a_handler_shows() -> None:
    shown, hidden = value("[random.getrandbits(64), secrets.randbits(64)]")
    assert shown != hidden


def test_a_state_can_be_gone_back_to() -> None:
    namespace = frozen.module("""
        import random
        def again(source):
            state = source.getstate()
            drawn = source.random()
            source.setstate(state)
            return drawn == source.random()
        results = [again(random), again(random.Random()), again(random.Random(1))]
        other = random.Random()
        other.setstate(random.Random(5).getstate())
        drawn = other.random()
    """)
    assert namespace["results"] == [True, True, True]
    assert namespace["drawn"] == random.Random(5).random()


def test_the_systems_generator_has_no_state() -> None:
    for expression in ("random.SystemRandom().getstate()", "random.SystemRandom().setstate(())"):
        with pytest.raises(NotImplementedError):
            value(expression)


def test_seeding_the_systems_generator_has_no_effect() -> None:
    namespace = frozen.module("import random\nr = random.SystemRandom(); r.seed(1); drawn = r.random()")
    with context.entered(frozen.call(1)):
        assert namespace["drawn"] == value("random.SystemRandom().random()")


def test_uuids_have_valid_versions_and_variants() -> None:
    made = value("[(uuid.uuid1(), uuid.uuid4()) for _ in range(50)]")
    assert {(first.version, fourth.version) for first, fourth in made} == {(1, 4)}
    assert {each.variant for pair in made for each in pair} == {uuid.RFC_4122}
    assert len({each for pair in made for each in pair}) == 100


def test_uuid1_carries_the_frozen_moment_and_not_this_machine() -> None:
    made = value("uuid.uuid1()")
    gregorian = datetime.datetime(1582, 10, 15, tzinfo=datetime.UTC)
    assert gregorian + datetime.timedelta(microseconds=made.time // 10) == frozen.CLOCK + datetime.timedelta(seconds=1)
    assert made.node == value("uuid.getnode()") == 0x020000000001
    chosen = value("uuid.uuid1(node=5, clock_seq=77)")
    assert (chosen.node, chosen.clock_seq) == (5, 77)
    assert value("uuid.uuid1(clock_seq=0x1FFFF)").clock_seq == uuid.uuid1(clock_seq=0x1FFFF).clock_seq


def test_uuids_made_from_names_and_texts_are_the_real_ones() -> None:
    assert value("uuid.UUID") is uuid.UUID
    assert value("uuid.uuid5(uuid.NAMESPACE_DNS, 'a')") == uuid.uuid5(uuid.NAMESPACE_DNS, "a")


def test_tokens_have_the_lengths_of_the_real_ones() -> None:
    assert len(value("secrets.token_bytes()")) == len(secrets.token_bytes())
    assert len(value("secrets.token_bytes(0)")) == 0
    assert len(value("secrets.token_hex(5)")) == 10
    assert len(value("secrets.token_urlsafe(5)")) == len(secrets.token_urlsafe(5))
    assert value("secrets.compare_digest") is secrets.compare_digest


@pytest.mark.parametrize("expression", ["secrets.randbelow(0)", "secrets.randbelow(-1)", "os.urandom(-1)"])
def test_impossible_sizes_are_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"positive|negative"):
        value(expression)


def test_numbers_stay_below_their_bound() -> None:
    assert set(value("[secrets.randbelow(3) for _ in range(99)]")) == {0, 1, 2}


def test_the_servers_own_randomness_is_untouched() -> None:
    state = random.getstate()
    frozen.module("import random, uuid, os; random.seed(1); random.random(); uuid.uuid4(); os.urandom(4)")
    assert random.getstate() == state
    assert uuid.uuid4() != uuid.uuid4()
    assert os.urandom(16) != os.urandom(16)


def test_outside_a_call_a_draw_is_an_error() -> None:
    with pytest.raises(context.OutsideEpisode):
        contextvars.Context().run(frozen.module, "import uuid; uuid.uuid4()")
