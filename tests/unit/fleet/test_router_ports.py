"""Which port of a fleet on this machine carries what."""

from pathlib import Path

import commands
import pytest

from awm_fleet.backends.process import routers
from awm_runtime import errors


@pytest.mark.parametrize(
    ("host", "port", "own", "expected"),
    [
        ("127.0.0.1", 8080, (None, None), {"single": 8080}),
        ("::1", 0, (None, None), {"single": 0}),
        ("127.0.0.1", 8080, (9000, None), {"agent": 8080, "control": 9000, "metrics": 8082}),
        ("0.0.0.0", 8080, (None, None), {"agent": 8080, "control": 8081, "metrics": 8082}),
        ("0.0.0.0", 65535, (1, 2), {"agent": 65535, "control": 1, "metrics": 2}),
        ("192.0.2.1", 0, (None, 9000), {"agent": 0, "control": 0, "metrics": 9000}),
    ],
)
def test_one_port_carries_everything_on_loopback_alone(
    host: str, port: int, own: tuple[int | None, int | None], expected: dict[str, int]
) -> None:
    control, metrics = own
    assert routers.ports_of(host, port, control=control, metrics=metrics) == expected


def test_a_port_without_two_after_it_is_refused_with_what_to_name() -> None:
    with pytest.raises(errors.PermanentError, match=r"no two ports after 65534: name --control_port"):
        routers.ports_of("0.0.0.0", 65534, control=None, metrics=None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_beyond_loopback_a_fleet_without_keys_is_refused_before_anything_is_written(
    host: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = commands.Awm(capsys)("up", "--host", host, "--port", 0, "--state", tmp_path / "state")
    assert ended.status == 1
    assert ended.err.startswith(f"error: {host} is reachable from other machines: name the keys")
    assert not (tmp_path / "state").exists()
