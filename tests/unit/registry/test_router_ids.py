"""Episode ids: what they carry, that they cannot be forged, and the key that they are sealed with."""

import re
import string
from concurrent import futures
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awm_registry.router import ids
from awm_runtime import errors
from awm_runtime.contract import problems

KEY = bytes(range(32))
HERE = ids.placement("library", "library-1")
NAMES = st.text(string.ascii_lowercase + string.digits + "_-", min_size=1, max_size=64)


def code_of(known: ids.EpisodeIds, id: str) -> problems.Code:
    with pytest.raises(problems.ProblemError) as caught:
        known.placement(id)
    return caught.value.code


@given(scenario=NAMES, instance=NAMES)
def test_an_id_says_where_its_episode_is(scenario: str, instance: str) -> None:
    made = ids.EpisodeIds(KEY)
    where = ids.placement(scenario, instance)
    for id in (made.new(where), made.repeatable(where, "key", 1)):
        assert re.fullmatch(r"ep_[a-z2-7]{40}", id)
        assert ids.EpisodeIds(KEY).placement(id) == where


def test_the_same_parts_give_the_same_id_and_others_another() -> None:
    made = ids.EpisodeIds(KEY)
    first = made.repeatable(HERE, "a", "bc", 1)
    assert made.repeatable(HERE, "a", "bc", 1) == first
    others = {
        made.repeatable(HERE, "ab", "c", 1),
        made.repeatable(HERE, "a", "bc", 2),
        made.repeatable(ids.placement("library", "library-2"), "a", "bc", 1),
        made.new(HERE),
        ids.EpisodeIds(bytes(32)).repeatable(HERE, "a", "bc", 1),
    }
    assert len(others | {first}) == 6


@given(at=st.integers(3, 42), letter=st.sampled_from(string.ascii_lowercase + "234567"))
def test_an_id_with_another_letter_leads_nowhere(at: int, letter: str) -> None:
    known = ids.EpisodeIds(KEY)
    id = known.repeatable(HERE, "x")
    forged = id[:at] + letter + id[at + 1 :]
    if forged != id:
        assert code_of(known, forged) == problems.Code.UNKNOWN_EPISODE


@pytest.mark.parametrize(
    "id",
    ["", "ep_", "ep_default", "../../etc/passwd", "ep_" + "A" * 40, "ep_" + "é" * 40, "ep_" + "1" * 40, "x" * 10_000],
)
def test_what_is_no_id_leads_nowhere(id: str) -> None:
    assert code_of(ids.EpisodeIds(KEY), id) == problems.Code.UNKNOWN_EPISODE


def test_an_id_of_another_fleet_leads_nowhere() -> None:
    assert code_of(ids.EpisodeIds(KEY), ids.EpisodeIds(bytes(32)).new(HERE)) == problems.Code.UNKNOWN_EPISODE


def test_routers_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    path = tmp_path / "new" / "episode-ids.key"
    with futures.ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: ids.load_key(path), range(8)))
    assert len(keys) == 1
    assert ids.load_key(path) in keys
    assert path.stat().st_mode & 0o077 == 0
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(("content", "says"), [("nonsense", "holds no key"), ("abcd", "has 2 bytes")])
def test_a_key_file_that_holds_none_is_refused_and_kept(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    with pytest.raises(errors.PermanentError, match=says):
        ids.load_key(path)
    assert path.read_text() == content


def test_a_short_key_is_refused() -> None:
    with pytest.raises(errors.PermanentError, match="32 are needed"):
        ids.EpisodeIds(b"short")
