"""Builds the images that containers are made of, `awm-runtime` and `awm-control`, and prints their sizes.

`make images` runs this. Needs a Docker engine; the packages come through uv's cache, as uv.lock says, and are installed
outside the build, so that the build itself reaches no network.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from awm_generator.images import layouts, sources

ROOT = Path(__file__).resolve().parent.parent
UV = ROOT / ".tools" / "bin" / "uv"
VERSION: str = tomllib.loads((ROOT / "fleet" / "pyproject.toml").read_text())["project"]["version"]
DEBIAN = "debian"
DEBIAN_IMAGE = "awm-base:debian"
_ASK = """
import json, platform, sys
print(json.dumps([platform.machine(), "%d.%d" % sys.version_info[:2], platform.libc_ver()]))
"""
_PLATFORMS = {"glibc": "manylinux_2_28", "": "musllinux_1_2"}


@dataclass(frozen=True)
class Kind:
    """An image to build: its name is also its folder's, after `awm-`."""

    name: str
    package: str
    extras: tuple[str, ...]

    @property
    def tag(self) -> str:
        return f"{self.name}:{VERSION}"

    @property
    def dockerfile(self) -> Path:
        return ROOT / "images" / self.name.removeprefix("awm-") / "Dockerfile"


KINDS = (Kind("awm-runtime", "awm-runtime", ("server", "tokens")), Kind("awm-control", "awm-fleet", ("kubernetes",)))


def main() -> None:
    """Builds what is asked for."""
    given = _arguments()
    if shutil.which("docker") is None:
        sys.exit("images: no docker on the PATH; it is needed to build the base images, and for nothing else here")
    base = _debian() if given.base == DEBIAN else given.base
    machine, python, libc = json.loads(_output("docker", "run", "--rm", "--entrypoint", "python3", base, "-c", _ASK))
    platform = f"{machine}-{_PLATFORMS[libc[0]]}"
    rows = []
    for kind in KINDS:
        if given.only and kind.name not in given.only:
            continue
        with tempfile.TemporaryDirectory(prefix="awm-image-") as context:
            _prepare(Path(context), kind, python=python, platform=platform)
            _build(Path(context), kind, base=base, python=python)
        image = sources.from_engine(kind.tag)
        layouts.Layout(given.layouts / kind.name).add(image, kind.tag)
        installed = int(_output("docker", "image", "inspect", "--format", "{{.Size}}", kind.tag))
        rows.append((kind.tag, installed, image.size))
    print(f"{'image':24} {'on disk':>10} {'to send':>10}   on {base}")
    for tag, installed, compressed in rows:
        print(f"{tag:24} {installed / 1e6:7.1f} MB {compressed / 1e6:7.1f} MB")
    print(f"as OCI layouts: {given.layouts}/NAME, for --base oci:{given.layouts}/awm-runtime")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make images IMAGES_ARGS=...", description=__doc__)
    parser.add_argument("--base", default="python:3.13-slim", help=f"base image; {DEBIAN}: from Debian packages alone")
    parser.add_argument("--layouts", type=Path, default=Path(".awm/images"), help="where OCI layouts of them go")
    parser.add_argument("--only", action="append", choices=[kind.name for kind in KINDS], help="only this one")
    return parser.parse_args()


def _debian() -> str:
    subprocess.run([ROOT / "images" / "base" / "build.sh", DEBIAN_IMAGE], check=True)
    return DEBIAN_IMAGE


def _prepare(context: Path, kind: Kind, *, python: str, platform: str) -> None:
    """Fills a build context."""
    (context / "state").mkdir()
    shutil.copyfile(ROOT / "images" / "runtime" / "compile.py", context / "compile.py")
    extras = [option for extra in kind.extras for option in ("--extra", extra)]
    locked = context / "requirements.txt"
    _run(UV, "export", "--quiet", "--locked", "--no-dev", "--no-emit-workspace", "--package", kind.package, *extras,
         "--output-file", locked)  # fmt: skip
    wheels = context / "wheels"
    for member in _members(kind):
        _run(UV, "build", "--quiet", "--wheel", "--out-dir", wheels, "--package", member)
    install = [UV, "pip", "install", "--quiet", "--target", context / "packages", "--python-version", python,
               "--python-platform", platform, "--only-binary", ":all:"]  # fmt: skip
    _run(*install, "--require-hashes", "--no-deps", "-r", locked)
    _run(*install, "--no-deps", *sorted(wheels.glob("*.whl")))
    shutil.rmtree(context / "packages" / "bin", ignore_errors=True)


def _members(kind: Kind) -> list[str]:
    runtime = ["awm-runtime"]
    return runtime if kind.package in runtime else [*runtime, "awm-registry", "awm-generator", "awm-fleet"]


def _build(context: Path, kind: Kind, *, base: str, python: str) -> None:
    arguments = {"BASE_IMAGE": base, "PYTHON_VERSION": python, "VERSION": VERSION}
    options = [option for name, value in arguments.items() for option in ("--build-arg", f"{name}={value}")]
    _run("docker", "build", "--quiet", "--tag", kind.tag, *options, "--file", kind.dockerfile, context)


def _run(*command: object) -> None:
    done = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"images: {' '.join(str(word) for word in command[:4])} ...: {done.stdout}{done.stderr}")


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"images: {' '.join(command[:3])}: {done.stderr.strip()}")
    return done.stdout.strip()


if __name__ == "__main__":
    main()
