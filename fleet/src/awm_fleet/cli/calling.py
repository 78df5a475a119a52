"""What a person types: this program's name from here, and where its fleet is when no URL is given."""

import shutil
import sys
from pathlib import Path

DEFAULT_URL = "http://127.0.0.1:8080"


def awm() -> str:
    """How this program is called from here: `awm` where that is it, or else the path to it."""
    started = Path(sys.argv[0]).absolute()
    found = shutil.which("awm")
    if found is not None and Path(found).resolve() == started.resolve():
        return "awm"
    return str(started.relative_to(Path.cwd()) if started.is_relative_to(Path.cwd()) else started)
