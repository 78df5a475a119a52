"""Serves one bundle: `python -m awm_runtime.server BUNDLE --state DIR`. What containers and `launching` run."""

import argparse
import json
import os
import sys
from pathlib import Path

from awm_runtime import errors
from awm_runtime.server import keeper, logs

TOKEN_VARIABLE = "AWM_CONTROL_TOKEN"  # noqa: S105 - its name
KEYS_VARIABLE = "AWM_TOKEN_KEYS"
ID_VARIABLE = "AWM_INSTANCE_ID"
TEAM_VARIABLE = "AWM_TEAM"


def main(arguments: list[str] | None = None) -> int:
    """Serves until SIGTERM; once ready, says on standard output where, as one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m awm_runtime.server", description=__doc__)
    parser.add_argument("bundle", type=Path, help="the bundle's folder")
    parser.add_argument("--state", type=Path, required=True, help="where episodes live")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8001, help="agent plane; 0: any")
    parser.add_argument("--control-port", type=int, default=8002, help="control plane; 0: any")
    parser.add_argument("--allow-host", action="append", default=[], help="a Host name to answer; * for all")
    given = parser.parse_args(arguments)
    logs.to_standard_error(watched=False)
    options = keeper.Options(
        bundle=given.bundle,
        state=given.state,
        host=given.host,
        port=given.port,
        control_port=given.control_port,
        token=os.environ.get(TOKEN_VARIABLE),
        host_names=tuple(given.allow_host),
        keys=Path(keys) if (keys := os.environ.get(KEYS_VARIABLE)) else None,
        id=os.environ.get(ID_VARIABLE, ""),
        team=os.environ.get(TEAM_VARIABLE, ""),
    )
    try:
        keeper.serve(options, on_ready=_announce)
    except errors.AwmError as exc:
        print(f"error: {exc}", file=sys.stderr)  # noqa: T201
        if detail := getattr(exc, "detail", ""):
            print(detail, file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _announce(address: keeper.Address) -> None:
    print(json.dumps({"agent_url": address.agent_url, "control_url": address.control_url}), flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
