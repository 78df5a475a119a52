"""Tries whether a scenario's code loads, in a process of its own: it may hang, exit, fork or print what it likes.

`python -m awm_runtime.server.probe --bundle DIR [--deadline SECONDS]` prints one JSON document:
`{"ok", "tools", "findings": [{"kind", "detail", "served"}], "error": {"reason", "detail"} | null, "isolation"}`.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import pydantic

from awm_runtime import confinement, errors
from awm_runtime.bundle import database, model
from awm_runtime.server import engines, inline, loading

DEADLINE_S = 30.0

_MEMORY_BYTES = 4 << 30
_FILE_BYTES = 256 << 20
_OUTPUT_SHOWN = 4000


@dataclass(frozen=True)
class ProbeError:
    """Why a scenario does not load: a short reason for a report, and the details for its author."""

    reason: str
    detail: str = ""


@dataclass(frozen=True)
class ProbeResult:
    """What loading a scenario gave.

    Attributes:
        ok: Whether it loads.
        tools: Its tools as served, the content of tools.json.
        findings: `{"kind", "detail", "served"}` of what could not be served as it stands.
        error: Why it does not load.
        isolation: What confined the process: `{"landlock_abi", "seccomp"}`; empty where it ended before that.
    """

    ok: bool
    tools: list[dict[str, Any]]
    findings: list[dict[str, Any]]
    error: ProbeError | None
    isolation: dict[str, Any]


def probe(bundle_dir: Path, *, deadline_s: float = DEADLINE_S) -> ProbeResult:
    """Loads a bundle's environment.py in a confined process and says what came of it.

    Only scenario.json, schema.sql, seed.sql and environment.py are read. The process and all that it started are gone
    when this returns.

    Args:
        bundle_dir: The bundle's folder.
        deadline_s: How long loading may take.

    Raises:
        BundleError: one of the four files is missing or malformed.
    """
    _read(bundle_dir)
    with tempfile.TemporaryDirectory(prefix="awm-probe-") as folder:
        scratch = Path(folder) / "scratch"
        scratch.mkdir()
        output = Path(folder) / "output"
        status = _run_child(bundle_dir, scratch, output, deadline_s)
        return _result(scratch / "result.json", status, _tail(output), deadline_s)


def _run_child(bundle_dir: Path, scratch: Path, output: Path, deadline_s: float) -> int | None:
    """The child's exit status, or None where it had to be killed at the deadline."""
    command = [sys.executable, "-m", "awm_runtime.server.probe", "--bundle", str(bundle_dir), "--scratch", str(scratch)]
    with output.open("wb") as stream:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env=_environment(scratch),
            cwd=scratch,
            start_new_session=True,
        )
        try:
            return process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _environment(scratch: Path) -> dict[str, str]:
    """What scenario code may see of the process's environment. The fixed hash seed keeps names and sets in order."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "VIRTUAL_ENV") if name in os.environ}
    return {**kept, "PYTHONHASHSEED": "0", "TZ": "UTC", "HOME": str(scratch), "TMPDIR": str(scratch), "PYTHONUTF8": "1"}


def _result(path: Path, status: int | None, output: str, deadline_s: float) -> ProbeResult:
    if path.exists():
        with contextlib.suppress(orjson.JSONDecodeError, TypeError, KeyError):
            return _decoded(path.read_bytes())
    if status is None:
        reason = f"its code did not finish loading within {deadline_s:g} s"
    elif status < 0:
        reason = f"its code was ended by signal {signal.Signals(-status).name} while loading"
    else:
        reason = f"its code ended the process while loading (exit status {status})"
    return ProbeResult(ok=False, tools=[], findings=[], error=ProbeError(reason, output), isolation={})


def _decoded(text: bytes) -> ProbeResult:
    document = orjson.loads(text)
    error = document.pop("error")
    return ProbeResult(**document, error=ProbeError(**error) if error else None)


def _tail(path: Path) -> str:
    with path.open("rb") as stream:
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - _OUTPUT_SHOWN))
        return stream.read().decode(errors="replace")


@dataclass(frozen=True)
class _Parts:
    """What of a bundle loading needs."""

    scenario: model.Scenario
    schema_sql: str
    seed_sql: str
    environment: str


def _read(bundle_dir: Path) -> _Parts:
    try:
        scenario = model.Scenario.model_validate_json((bundle_dir / "scenario.json").read_bytes())
        texts = [(bundle_dir / name).read_text("utf-8") for name in ("schema.sql", "seed.sql", "environment.py")]
    except pydantic.ValidationError as exc:
        raise errors.BundleError(f"{bundle_dir / 'scenario.json'}: {exc}") from exc
    except OSError as exc:
        raise errors.BundleError(f"{exc.filename}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise errors.BundleError(f"{bundle_dir}: a file of it is not UTF-8 text: {exc}") from exc
    return _Parts(scenario, *texts)


def _child(bundle_dir: Path, scratch: Path) -> ProbeResult:
    """Runs in the child: confines it, then loads the scenario."""
    parts = _read(bundle_dir)
    engines.install()
    inline.install()
    policy = confinement.Policy(
        read=confinement.runtime_read_paths(),  # not the bundle: it has tasks and verifiers in it
        write=(scratch,),
        memory_bytes=_MEMORY_BYTES,
        file_bytes=_FILE_BYTES,
    )
    isolation = asdict(confinement.confine(policy))
    path = scratch / "scratch.db"
    scenario = parts.scenario
    database.build(parts.schema_sql, parts.seed_sql, scenario.clock, path, scenario.foreign_keys)
    try:
        loaded = loading.load(
            parts.environment,
            scratch_database=path,
            clock=scenario.clock,
            foreign_keys=scenario.foreign_keys == "on",
        )
    except errors.EnvironmentCodeError as exc:
        error = ProbeError(str(exc), exc.detail)
        return ProbeResult(ok=False, tools=[], findings=[], error=error, isolation=isolation)
    findings = [asdict(finding) for finding in loaded.toolset.findings]
    return ProbeResult(ok=True, tools=loaded.toolset.served, findings=findings, error=None, isolation=isolation)


def _child_main(bundle_dir: Path, scratch: Path) -> None:
    """Leaves the result in the scratch folder: whatever is printed is the scenario's."""
    result = _child(bundle_dir, scratch)
    unfinished = scratch / "result.part"
    unfinished.write_bytes(orjson.dumps(asdict(result)))
    unfinished.replace(scratch / "result.json")
    os._exit(0)  # threads of the scenario would keep the process


def main(arguments: list[str] | None = None) -> int:
    """The command: 0 when the scenario loads, 1 when it does not."""
    parser = argparse.ArgumentParser(prog="python -m awm_runtime.server.probe")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--deadline", type=float, default=DEADLINE_S)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.scratch is not None:
        _child_main(options.bundle, options.scratch)
    try:
        result = probe(options.bundle.resolve(), deadline_s=options.deadline)
    except errors.BundleError as exc:
        result = ProbeResult(ok=False, tools=[], findings=[], error=ProbeError(str(exc)), isolation={})
    sys.stdout.buffer.write(orjson.dumps(asdict(result)) + b"\n")
    return 0 if result.ok else 1


if __name__ == "__main__":
    sys.exit(main())
