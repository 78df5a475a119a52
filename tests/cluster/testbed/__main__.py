"""`python -m cluster.testbed build`: builds what the cluster tests need. `... up`: a cluster until Ctrl-C."""

import argparse
import contextlib
import sys
import tempfile
import time
from pathlib import Path

from cluster.testbed import clusters, nodes, tools


def main() -> None:
    """Builds, or serves a cluster of simulated nodes."""
    parser = argparse.ArgumentParser(prog="python -m cluster.testbed", description=__doc__)
    parser.add_argument("what", choices=["build", "up"])
    parser.add_argument("--nodes", type=int, default=2, help="simulated nodes of `up`")
    parser.add_argument("--real", action="store_true", help="a real node and an image registry in place of them")
    given = parser.parse_args()
    if given.real and (lacking := nodes.lacking()):
        sys.exit(f"a real node needs Debian's packages {' '.join(lacking)}")
    programs = _built()
    if given.what == "up":
        _serve(programs, None if given.real else given.nodes)


def _built() -> Path:
    for module in tools.PROGRAMS:
        begun = time.monotonic()
        folder = tools.build(module)
        print(f"{module}: {folder} ({time.monotonic() - begun:.0f} s)", flush=True)
    programs = tools.built()
    assert programs is not None
    return programs


def _serve(programs: Path, simulated: int | None) -> None:
    with tempfile.TemporaryDirectory(prefix="awm-testbed-") as name, contextlib.ExitStack() as stack:
        state = Path(name) / "state"
        if simulated is None:
            cluster = stack.enter_context(nodes.real(programs, state))
        else:
            cluster = stack.enter_context(clusters.simulated(programs, state, nodes=simulated))
        stack.enter_context(contextlib.suppress(KeyboardInterrupt))
        command = cluster.inside("kubectl", f"--kubeconfig={cluster.kubeconfig}", "get", "nodes")
        print("serving until Ctrl-C; for example:", " ".join(command), flush=True)
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    main()
