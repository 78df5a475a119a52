"""Sets up the checkout (`sync`).

Standard library only, and readable by any Python 3, so that an old interpreter gets a message and no syntax error.
Nothing is written outside the checkout except uv's own cache.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = (3, 11)
OLDEST_UV = (0, 9)
UV_LINK = ROOT / ".tools" / "bin" / "uv"
PRIVATE_UV = ROOT / ".tools" / "uv"
PRIVATE_UV_REQUIREMENT = "uv==0.13.8"


def fail(message):
    """Ends the program with a message for a person."""
    sys.exit("setup: " + message)


def require_python():
    """Refuses an interpreter that is too old."""
    if sys.version_info < OLDEST_PYTHON:
        fail(
            "Python {}.{} or newer is needed, {} is {}.{}. Name another one: make setup PYTHON=python3.12".format(
                *OLDEST_PYTHON, sys.executable, *sys.version_info[:2]
            )
        )


def uv_version(command):
    """Returns the version of a uv command as a tuple, or None where it does not run."""
    try:
        done = subprocess.run(
            [str(command), "--version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
        )
    except OSError:
        return None
    found = re.match(r"uv (\d+)\.(\d+)", done.stdout.decode())
    return tuple(int(part) for part in found.groups()) if done.returncode == 0 and found else None


def usable_uv():
    """Returns the uv of the PATH or the private one, whichever is there and new enough, else None."""
    candidates = [shutil.which("uv"), PRIVATE_UV / "bin" / "uv"]
    for command in candidates:
        if command and (uv_version(command) or (0, 0)) >= OLDEST_UV:
            return str(command)
    return None


def install_private_uv():
    """Installs uv below `.tools/`, in a virtual environment or, where Python lacks ensurepip, with the system's pip."""
    print("setup: installing uv into " + str(PRIVATE_UV.relative_to(ROOT)), flush=True)
    shutil.rmtree(str(PRIVATE_UV), ignore_errors=True)
    quiet_pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
    # A short PATH: pip asks any `rustc` there for its version, and rustup's writes into the home folder then.
    environment = dict(os.environ, PIP_ROOT_USER_ACTION="ignore", PATH=os.defpath)
    venv = [sys.executable, "-m", "venv", str(PRIVATE_UV)]
    made = subprocess.run(venv, env=environment, stdout=subprocess.DEVNULL, check=False)
    if made.returncode == 0:
        install = [str(PRIVATE_UV / "bin" / "python"), *quiet_pip, PRIVATE_UV_REQUIREMENT]
    else:
        shutil.rmtree(str(PRIVATE_UV), ignore_errors=True)
        install = [sys.executable, *quiet_pip, "--target", str(PRIVATE_UV), PRIVATE_UV_REQUIREMENT]
    if subprocess.run(install, env=environment, check=False).returncode != 0:
        fail(
            "uv could not be installed. It needs Python's venv and ensurepip modules (Debian: python3-venv) "
            "or pip, and a way to a package index; or install uv {}.{} or newer yourself".format(*OLDEST_UV)
        )
    command = usable_uv()
    if command is None:
        fail("the private uv does not run: " + str(PRIVATE_UV))
    return command


def link_uv():
    """Puts the uv to use at `.tools/bin/uv`, where the Makefile and the tests find it, and returns that path."""
    uv = usable_uv() or install_private_uv()
    UV_LINK.parent.mkdir(parents=True, exist_ok=True)
    if UV_LINK.is_symlink():
        UV_LINK.unlink()
    UV_LINK.symlink_to(uv)
    return str(UV_LINK)


def sync():
    """Makes `.venv` what uv.lock says."""
    require_python()
    print("setup: syncing .venv with uv.lock", flush=True)
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    environment["UV_PROJECT_ENVIRONMENT"] = str(ROOT / ".venv")
    options = ["--locked", "--all-packages", "--all-extras", "--no-python-downloads", "--quiet"]
    command = [link_uv(), "sync", *options, "--python", sys.executable]
    if subprocess.run(command, cwd=str(ROOT), env=environment, check=False).returncode != 0:
        fail("uv could not sync .venv, see above")


if __name__ == "__main__":
    {"sync": sync}[sys.argv[1]]()
