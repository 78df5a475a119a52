"""Runs an instance beside the calling program, for as long as a `with` block lasts."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from awm_runtime import errors
from awm_runtime.server import keeper

_PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Launched:
    """A running instance.

    Attributes:
        address: Where it answers.
        process: Its keeper.
    """

    address: keeper.Address
    process: "subprocess.Popen[str]"


@contextlib.contextmanager
def launched(
    bundle: Path, state: Path, *, settings: Mapping[str, str] | None = None, dies_with_caller: bool = False
) -> Iterator[Launched]:
    """Serves `bundle` on two free ports of the loopback address; its log is `instance.log` in `state`.

    Args:
        bundle: The bundle's folder.
        state: Where episodes live; kept afterwards.
        settings: Variables named `AWM_*`.
        dies_with_caller: Whether it is killed when the calling thread ends without leaving the block, as by `kill -9`.

    Raises:
        PermanentError: It does not start; the message is what it said.
    """
    state.mkdir(parents=True, exist_ok=True)
    log = state / "instance.log"
    command = [sys.executable, "-m", "awm_runtime.server", str(bundle), "--state", str(state)]
    if dies_with_caller:
        command.append(f"--die-with={os.getpid()}")
    with log.open("a") as errors_to:
        process = subprocess.Popen(
            [*command, "--port=0", "--control-port=0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors_to,
            env={**os.environ, **(settings or {})},
            text=True,
        )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        if not said:
            process.wait()
            raise errors.PermanentError(f"{bundle.name} cannot be served: {_last_words(log)}")
        yield Launched(keeper.Address(**json.loads(said)), process)
    finally:
        keeper.end(process, _PATIENCE_S)
        if process.stdout is not None:
            process.stdout.close()


def _last_words(log: Path) -> str:
    """The error that a keeper ended with, and what came after it."""
    text = log.read_text()
    return text[text.rfind("error: ") :].removeprefix("error: ").strip() or "no reason was given"
