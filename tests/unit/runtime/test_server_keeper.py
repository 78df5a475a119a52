"""What a keeper checks before it starts anything, and that it holds nothing afterwards."""

import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from awm_runtime import errors
from awm_runtime.server import keeper

LIBRARY = Path(__file__).resolve().parents[3] / "fleet" / "src" / "awm_fleet" / "examples" / "library"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle of the test's own, to be broken."""
    return Path(shutil.copytree(LIBRARY, tmp_path / "library"))


def _keeper(bundle: Path, variables: Mapping[str, str] | None = None, **options: Any) -> keeper.Keeper:
    given = {"state": bundle.parent / "state", "port": 0, "control_port": 0, **options}
    return keeper.Keeper(keeper.Options(bundle=bundle, **given), variables or {})


def _refusal(bundle: Path, variables: Mapping[str, str] | None = None, **options: Any) -> str:
    """Why nothing is started; what was taken by then is given back."""
    before = psutil.Process().num_fds()
    with pytest.raises(errors.PermanentError) as caught:
        _keeper(bundle, variables, **options)
    assert psutil.Process().num_fds() == before
    return str(caught.value)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_a_keeper_listens_on_free_ports_until_it_is_closed(bundle: Path) -> None:
    made = _keeper(bundle)
    port = int(made.address.agent_url.rpartition(":")[2])
    assert made.address.mcp_url == f"http://127.0.0.1:{port}/mcp"
    socket.create_connection(("127.0.0.1", port)).close()
    made.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


@pytest.mark.parametrize("which", ["port", "control_port"])
def test_a_port_in_use_is_named(bundle: Path, taken: int, which: str) -> None:
    assert f"cannot listen on 127.0.0.1:{taken}: Address already in use" in _refusal(bundle, **{which: taken})


def test_a_port_out_of_range_and_an_unknown_host_are_named(bundle: Path) -> None:
    assert "cannot listen on 127.0.0.1:70000: a port is a number" in _refusal(bundle, port=70000)
    assert "cannot listen on no.such.host.invalid:0" in _refusal(bundle, host="no.such.host.invalid", token="x")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_an_address_that_others_reach_wants_a_token(bundle: Path, host: str) -> None:
    assert f"{host} is reachable from other machines: give the control plane a token" in _refusal(bundle, host=host)


def test_a_setting_that_makes_no_sense_is_named(bundle: Path) -> None:
    refusal = _refusal(bundle, {"AWM_EPISODES": "many"})
    assert refusal == "AWM_EPISODES must be a positive number of episodes, not 'many'"


def test_a_state_folder_has_one_keeper_at_a_time(bundle: Path) -> None:
    first = _keeper(bundle)
    assert "another process serves this bundle" in _refusal(bundle)
    first.close()
    _keeper(bundle).close()


def test_a_state_folder_that_cannot_be_written_is_named(bundle: Path) -> None:
    (bundle.parent / "file").write_text("")
    assert "cannot be written: Not a directory" in _refusal(bundle, state=bundle.parent / "file")


def test_a_bundle_that_is_not_there_is_named(bundle: Path) -> None:
    assert "no such folder" in _refusal(bundle / "nowhere")


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("scenario.json", "{", "scenario.json: broken JSON"),
        ("scenario.json", '{"format": "awm-bundle/1"}', "scenario.json: name: Field required"),
        ("tasks.jsonl", '{"id": "1"}\n', "tasks.jsonl:1: instruction: Field required"),
        ("tools.json", "{}", "tools.json: must be a JSON list"),
        ("seed.sql", None, "seed.sql: missing"),
    ],
)
def test_a_broken_file_of_a_bundle_is_named(bundle: Path, file: str, text: str | None, says: str) -> None:
    (bundle / file).unlink()
    if text is not None:
        (bundle / file).write_text(text)
    assert says in _refusal(bundle)
