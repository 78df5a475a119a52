"""The state folder: one holder, one version, nobody else's."""

import json
from pathlib import Path

import disks
import psutil
import pytest

from awm_fleet.backends.process import states
from awm_runtime import errors


def refusal(folder: Path) -> str:
    before = psutil.Process().num_fds()
    with pytest.raises(errors.PermanentError) as caught:
        states.take(folder)
    assert psutil.Process().num_fds() == before
    return str(caught.value)


def test_a_new_folder_is_marked_and_for_its_user_only(tmp_path: Path) -> None:
    held = states.take(tmp_path / "state")
    assert json.loads((tmp_path / "state" / states.MARKER).read_text()) == {"format": states.FORMAT}
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    held.release()
    states.take(tmp_path / "state").release()


def test_a_folder_has_one_holder_at_a_time(tmp_path: Path) -> None:
    assert not states.is_held(tmp_path / "state")
    held = states.take(tmp_path / "state")
    assert states.is_held(tmp_path / "state")
    assert "a fleet runs on" in refusal(tmp_path / "state")
    held.release()
    assert not states.is_held(tmp_path / "state")


@pytest.mark.parametrize("marker", ['{"format": "awm-fleet-state/0"}', '{"format": null}', "[]", "{", ""])
def test_another_versions_folder_is_refused_and_left_alone(tmp_path: Path, marker: str) -> None:
    (tmp_path / states.MARKER).write_text(marker)
    assert "another version of AWM Fleet" in refusal(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [states.MARKER]


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all my work")
    assert "holds other things than a fleet's state" in refusal(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be written: Not a directory" in refusal(tmp_path / "file" / "state")
    with disks.full():
        assert "cannot be written: File too large" in refusal(tmp_path / "state")
    states.take(tmp_path / "state").release()


def test_a_path_too_long_for_a_socket_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    assert "choose a shorter --state" in refusal(tmp_path / ("x" * 120))
    assert list(tmp_path.iterdir()) == []
