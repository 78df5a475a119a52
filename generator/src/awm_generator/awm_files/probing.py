"""Asks a confined process whether a bundle's code imports, and what tools it has."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pydantic

DEADLINE_S = 30.0
_GRACE_S = 30.0  # for the probe's own start and end; it ends the code at the deadline


class ProbeFinding(pydantic.BaseModel):
    """Something that the probe found wrong with the tools; `served` as in `awm_runtime.server.tools.Finding`."""

    kind: str
    detail: str
    served: bool


class ProbeError(pydantic.BaseModel):
    """Why the code does not import."""

    reason: str
    detail: str = ""


class Probe(pydantic.BaseModel):
    """The probe's answer."""

    ok: bool
    tools: tuple[dict[str, Any], ...] = ()
    findings: tuple[ProbeFinding, ...] = ()
    error: ProbeError | None = None


def probe(bundle: Path, deadline_s: float = DEADLINE_S) -> Probe:
    """Loads the code of the bundle in the folder `bundle` in a process of its own, and says what came of it."""
    command = [sys.executable, "-m", "awm_runtime.server.probe", "--bundle", str(bundle), "--deadline", str(deadline_s)]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=deadline_s + _GRACE_S, stdin=subprocess.DEVNULL, check=False
        )
    except subprocess.TimeoutExpired:
        return _failed("the probe did not answer")
    try:
        return Probe.model_validate(json.loads(done.stdout))
    except (ValueError, RecursionError):
        return _failed(f"the probe failed ({_ending(done.returncode)})", done.stderr)


def _failed(reason: str, output: bytes = b"") -> Probe:
    return Probe(ok=False, error=ProbeError(reason=reason, detail=output.decode(errors="replace")[-4000:]))


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
