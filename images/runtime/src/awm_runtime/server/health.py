"""Asks this machine's instance whether it is ready: `python -m awm_runtime.server.health`. What containers check."""

import contextlib
import http.client
import sys

PORT = 8002
_PATIENCE_S = 4.0


def main() -> int:
    """The exit status: 0 where the control plane says that it is ready."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=_PATIENCE_S)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/readyz")
            return int(connection.getresponse().status != http.client.OK)
        except (OSError, http.client.HTTPException):
            return 1


if __name__ == "__main__":
    sys.exit(main())
