"""`awm controller`, where it cannot start."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from awm_fleet.cli import main

Complaint = Callable[..., str]


@pytest.fixture
def complaint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Complaint:
    """What the command says when it is given these arguments, beside a good configuration."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"teams": [{"name": "red", "namespace": "team-red"}]}))

    def ask(*arguments: str) -> str:
        with pytest.raises(SystemExit) as caught:
            main.main(["controller", "--namespace=awm", f"--config={config}", "--port=0", *arguments])
        assert caught.value.code == main.EXIT_FAILED
        return capsys.readouterr().err

    return ask


def test_a_configuration_that_is_not_there_is_named(complaint: Complaint) -> None:
    assert "nowhere.json: cannot be read: No such file" in complaint("--config=nowhere.json")


def test_a_port_that_is_taken_is_named(complaint: Complaint) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} of 127.0.0.1 cannot be had" in complaint(f"--port={port}")


def test_a_kubeconfig_that_is_not_there_is_no_way_to_a_cluster(complaint: Complaint, tmp_path: Path) -> None:
    assert "no way to a cluster" in complaint(f"--kubeconfig={tmp_path}/nowhere")
