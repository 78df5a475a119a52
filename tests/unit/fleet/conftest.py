"""What the tests of the examples share."""

from collections.abc import Iterator

import playing
import pytest

from awm_fleet import examples
from awm_runtime.bundle import reading
from awm_runtime.verification import sandbox


@pytest.fixture(scope="module")
def judge() -> Iterator[sandbox.LocalJudge]:
    with sandbox.local_judge() as running:
        yield running


@pytest.fixture(scope="module")
def plays(as_an_instance: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, playing.Play]]:
    made = {
        name: playing.Play(reading.read(examples.path(name)), tmp_path_factory.mktemp(name))
        for name in examples.names()
    }
    yield made
    for play in made.values():
        play.close()
