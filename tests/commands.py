"""The `awm` command as tests run it: in this process, with what it printed."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from awm_fleet.cli import main


@dataclass
class Ended:
    """How a command ended, and what it said."""

    status: int | str | None
    out: str
    err: str

    def document(self) -> Any:
        """What it printed with `--json`."""
        return json.loads(self.out)


class Awm:
    """Runs `awm ARGUMENTS`.

    Args:
        capture: Where its output goes.
    """

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *arguments: object) -> Ended:
        with pytest.raises(SystemExit) as stop:
            main.main([str(argument) for argument in arguments])
        captured = self._capture.readouterr()
        return Ended(stop.value.code, captured.out, captured.err)

    def done(self, *arguments: object) -> Ended:
        """The same, which has to succeed."""
        ended = self(*arguments)
        assert ended.status == 0, ended.err
        return ended
