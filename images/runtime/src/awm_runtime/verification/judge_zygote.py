"""What judges are forked from where many instances share a machine: `python -m awm_runtime.verification.judge_zygote`.

It has imported what a judge imports, has never loaded scenario code, and is no instance's: each judge is told at its
fork which folder it may show to verifiers.
"""

import socket
from pathlib import Path
from typing import Any

from awm_runtime import families
from awm_runtime.verification import judge
from awm_runtime.zygote import serving


def _live(request: dict[str, Any], descriptors: list[int]) -> int:
    """A judge's life; it ends when the other side of its socket is closed."""
    families.name(request["name"])
    with socket.socket(fileno=descriptors[0]) as sock:
        judge.Court(sock, within=Path(request["within"])).serve()
    return 0


if __name__ == "__main__":
    judge.prepare()
    serving.serve(_live)
