"""Makes /opt/awm of the packages in /build, and bytecode for all of it; run in the first stage of an image's build.

What the image adds to its base ends up below one folder, so that it is one layer: a scenario's image names each layer
of its base, and each is a request to every registry that it goes to.

The bytecode is trusted without a look at the source: a look costs time at each start, and nobody can change either.
"""

import compileall
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

BUILD = Path("/build")
HOME = Path("/opt/awm")
# What no server imports, or what is there to be no valid Python. The Kubernetes client imports each of its two thousand
# models when it is asked for, and ours asks for none.
LEFT_OUT = re.compile(
    r"/(test|tests|idlelib|tkinter|turtledemo|lib2to3|ensurepip|distutils|dist-packages|client/models|client/api)/"
)


def main(made: Path) -> None:
    """Fills `made` with what goes into the image, as it will be below `/`."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", HOME], check=True)
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copytree(BUILD / "packages", HOME / "lib" / python / "site-packages", dirs_exist_ok=True)
    library = Path(sysconfig.get_path("stdlib"))
    for folder in (library, HOME):
        _compile(folder)
    shutil.copytree(HOME, made / HOME.relative_to("/"), symlinks=True)
    for cache in library.rglob("__pycache__"):
        shutil.copytree(cache, made / cache.relative_to("/"))


def _compile(folder: Path) -> None:
    """Compiles what can be compiled; a broken example in a package is no reason to stop."""
    compileall.compile_dir(
        folder,
        maxlevels=20,
        rx=LEFT_OUT,
        quiet=2,
        workers=0,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
