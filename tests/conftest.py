"""Rules that hold for every test: marks from the folder, needs that CI insists on, and no process left behind."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent
KINDS = {
    "unit": "one part at a time, no network",
    "contract": "what others rely on: protocols, formats, routes",
    "e2e": "real processes",
    "docker": "a real Docker engine, image registry and skopeo",
    "chart": "what the chart renders; no cluster",
    "cluster": "a real Kubernetes control plane with simulated nodes",
    "bench": "measurements; run by `make bench` only",
}
RUN_LABEL = f"AWM_TEST_RUN={uuid.uuid4().hex}"
"""In the environment of everything that a test starts, so that what outlives the run is known as ours."""

LEFTOVERS: list[str] = []


def pytest_configure(config: pytest.Config) -> None:
    for kind, meaning in KINDS.items():
        config.addinivalue_line("markers", f"{kind}: {meaning}")
    name, _, value = RUN_LABEL.partition("=")
    os.environ[name] = value
    for each in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):  # `make test` runs this, and tests run make
        os.environ.pop(each, None)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job hands on that it is ignored


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        kind = item.path.relative_to(ROOT / "tests").parts[0]
        if kind in KINDS:
            item.add_marker(kind)


@pytest.fixture(scope="session")
def missing() -> Callable[[str, str], NoReturn]:
    """`missing("node", "no node on the PATH")` skips the test, or fails it where AWM_REQUIRE names the need."""

    def report(need: str, reason: str) -> NoReturn:
        if need in os.environ.get("AWM_REQUIRE", "").split(","):
            pytest.fail(f"AWM_REQUIRE names {need}, but: {reason}")
        pytest.skip(reason)

    return report


@pytest.fixture(scope="session")
def sample(missing: Callable[[str, str], NoReturn]) -> Path:
    """AWM files of real scenarios: a folder beside the checkout, or the one that AWM_SAMPLE names."""
    folder = Path(os.environ.get("AWM_SAMPLE") or ROOT.parent / "shared" / "awm-sample")
    if not folder.is_dir():
        missing("sample", "no AWM sample beside the checkout, and AWM_SAMPLE names none")
    return folder


@pytest.fixture(scope="session")
def cache_folder() -> Path:
    """Where environments, foreign clients and suites are installed, once for all checkouts of a user."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "awm-fleet"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def uv(missing: Callable[[str, str], NoReturn]) -> Path:
    """The uv that `make setup` chose."""
    command = ROOT / ".tools" / "bin" / "uv"
    if not command.exists():
        missing("uv", "no .tools/bin/uv: run `make setup`")
    return command


@pytest.fixture(scope="session")
def docker_engine(missing: Callable[[str, str], NoReturn]) -> None:
    """A Docker engine that answers."""
    if shutil.which("docker") is None:
        missing("docker", "no docker on the PATH")
    asked = subprocess.run(["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, text=True)
    if asked.returncode:
        missing("docker", f"no Docker engine answers: {asked.stderr.strip().splitlines()[-1]}")


@pytest.fixture(scope="session")
def built_images(
    docker_engine: None, missing: Callable[[str, str], NoReturn], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """OCI layouts of this checkout's images, by name (`awm-runtime`, `awm-control`); or the folder of AWM_IMAGES."""
    if given := os.environ.get("AWM_IMAGES"):
        return Path(given)
    folder = tmp_path_factory.mktemp("base-images")
    own = os.geteuid() == 0 and shutil.which("mmdebstrap") is not None
    command = [sys.executable, ROOT / "images" / "build.py", *(["--base", "debian"] if own else [])]
    built = subprocess.run([*command, "--layouts", folder], cwd=ROOT, capture_output=True, text=True)
    if built.returncode:
        missing("docker", f"the base images cannot be built: {built.stdout}{built.stderr}")
    return folder


@pytest.fixture(scope="session")
def runtime_base(request: pytest.FixtureRequest) -> str:
    """The reference of the runtime's base image; or what AWM_BASE names."""
    return os.environ.get("AWM_BASE") or f"oci:{request.getfixturevalue('built_images')}/awm-runtime"


@pytest.fixture(scope="session")
def other_python(missing: Callable[[str, str], NoReturn], uv: Path, cache_folder: Path) -> Callable[[str], Path]:
    """Gives the Python of a version (`3.12`) in an environment with our packages, kept in the user's cache."""

    def python(version: str) -> Path:
        name = f"python{version.replace('.', '')}"
        interpreter = _find_python(version)
        if interpreter is None:
            missing(name, f"no Python {version} on the PATH or below pyenv's folder")
        identity = hashlib.sha256(bytes(ROOT) + (ROOT / "uv.lock").read_bytes()).hexdigest()[:12]
        environment = cache_folder / f"{name.replace('python', 'py')}-{identity}"
        sync = [uv, "sync", "--locked", "--all-packages", "--all-extras", "--no-dev", "--quiet"]
        variables = os.environ | {"UV_PROJECT_ENVIRONMENT": str(environment), "UV_PYTHON_DOWNLOADS": "never"}
        variables.pop("VIRTUAL_ENV", None)
        command = [*sync, "--python", interpreter]
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            missing(name, f"uv could not make {environment}: {done.stderr}")
        return environment / "bin" / "python"

    return python


@pytest.fixture(scope="session")
def python312(other_python: Callable[[str], Path]) -> Path:
    """Python 3.12 with our packages."""
    return other_python("3.12")


@pytest.fixture(scope="session")
def python_with_sdk_1_30(cache_folder: Path, uv: Path, missing: Callable[[str, str], NoReturn]) -> Path:
    """An interpreter that has SDK 1.30; it cannot live beside 2.x."""
    folder = cache_folder / f"mcp-1.30-py{sys.version_info.major}.{sys.version_info.minor}"
    python, complete = folder / "bin" / "python", folder / "complete"
    if not complete.exists():
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", python, "mcp==1.30.*"]
        installed = subprocess.run(install, capture_output=True, text=True, timeout=240)
        if installed.returncode:
            missing("sdk130", f"SDK 1.30 cannot be installed: {installed.stderr}")
        complete.touch()
    return python


def _find_python(version: str) -> str | None:
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [shutil.which(f"python{version}"), *map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/python")))]
    ask = f"import sys; print(sys.executable if '%d.%d' % sys.version_info[:2] == '{version}' else '')"
    for candidate in filter(None, candidates):
        # A pyenv shim is on the PATH even where its version is not active; only running it tells.
        answer = subprocess.run([candidate, "-c", ask], capture_output=True, text=True, check=False).stdout.strip()
        if answer:
            return answer
    return None


@pytest.fixture(scope="session", autouse=True)
def _no_process_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    yield
    folder = str(tmp_path_factory.getbasetemp())
    for process in psutil.process_iter():
        if process.pid != os.getpid() and _is_ours(process, folder):
            LEFTOVERS.append(f"{process.pid}: {' '.join(process.cmdline())}")
            process.kill()


def _is_ours(process: psutil.Process, folder: str) -> bool:
    """By the label, or by the run's folder on the command line where the environment was scrubbed."""
    name, _, value = RUN_LABEL.partition("=")
    try:
        if process.status() == psutil.STATUS_ZOMBIE or _is_pythons_own(process):
            return False
        return process.environ().get(name) == value or any(folder in word for word in process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def _is_pythons_own(process: psutil.Process) -> bool:
    """Whether it is the process by which multiprocessing cleans up: it ends with this one."""
    return process.ppid() == os.getpid() and any(
        "multiprocessing.resource_tracker" in word for word in process.cmdline()
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    if LEFTOVERS and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for leftover in LEFTOVERS:
        terminalreporter.write_line(f"left running after the tests (now killed): {leftover}", red=True)
