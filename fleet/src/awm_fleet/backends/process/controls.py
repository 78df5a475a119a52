"""A client of a supervisor's API, for commands. Without httpx, which takes as long to import as all that they need."""

import http.client
import json
import socket
from pathlib import Path
from typing import Any
from urllib import parse

from awm_fleet.backends.process import states
from awm_runtime import errors
from awm_runtime.contract import problems

_PATIENCE_S = 10.0


class NoSupervisor(errors.TransientError):
    """Nobody answers on a state folder."""


class Supervisor:
    """A client for commands; each request has a connection of its own.

    Args:
        state: The state folder.
    """

    def __init__(self, state: Path) -> None:
        self._state = state

    def status(self) -> dict[str, Any]:
        """What runs.

        Raises:
            NoSupervisor: Nothing does.
        """
        found: dict[str, Any] = json.loads(self._asked("GET", "/v1/status"))
        return found

    def logs(self, scenario: str, *, lines: int) -> str:
        """The last lines of a scenario's log.

        Raises:
            NoSupervisor: Nothing runs.
            ProblemError: `unknown_scenario`.
        """
        return self._asked("GET", f"/v1/logs/{parse.quote(scenario, safe='')}?lines={lines}").decode()

    def stop(self) -> None:
        """Begins the fleet's end.

        Raises:
            NoSupervisor: Nothing runs.
        """
        self._asked("POST", "/v1/stop")

    def _asked(self, method: str, path: str) -> bytes:
        connection = _Connection(states.socket_path(self._state))
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as exc:
            raise NoSupervisor(f"no fleet runs on {self._state}: start one with `awm up`") from exc
        finally:
            connection.close()
        raise_problem(answer.status, answer.headers.get_content_type(), body)
        return body


class _Connection(http.client.HTTPConnection):
    """A connection to a socket file. httpx would leave a socket open where nobody listens."""

    def __init__(self, path: Path) -> None:
        super().__init__("supervisor", timeout=_PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
        except OSError:
            self.close()
            raise


def raise_problem(status: int, media_type: str, body: bytes) -> None:
    """Raises what the supervisor refused with, where it did.

    Raises:
        ProblemError: That.
    """
    if status < http.client.MULTIPLE_CHOICES:
        return
    if media_type == problems.MEDIA_TYPE:
        raise problems.ProblemError.of(problems.Problem.model_validate_json(body))
    raise problems.ProblemError(problems.Code.INTERNAL, f"the supervisor answered {status}")
