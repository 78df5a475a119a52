"""The state folder of a fleet on this machine: what is in it, of which version, and who holds it.

```text
fleet.json                                  what wrote the folder
lock                                        held by the supervisor
supervisor.sock                             the supervisor's API, for this user only
fleet.log                                   what a detached fleet says
episode-ids.key                             what the routers seal episode ids with
catalogue/                                  what is served
environments/<scenario>.g<generation>/      instance.log, and a folder per bundle with its seed and its episodes
```
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from awm_runtime import errors
from awm_runtime.server import keeper

FORMAT = "awm-fleet-state/1"
MARKER = "fleet.json"
SOCKET = "supervisor.sock"
CATALOGUE = "catalogue"
LOG = "fleet.log"
"""Of a fleet that was started with `--detach`."""
_LONGEST_SOCKET_PATH = 107
_LOCK = "lock"


@dataclass(frozen=True)
class StateFolder:
    """A state folder that this process holds.

    Attributes:
        folder: Its absolute path.
    """

    folder: Path
    descriptor: int

    @property
    def environments(self) -> Path:
        """A folder per environment."""
        return self.folder / "environments"

    def release(self) -> None:
        """Lets another process have it."""
        os.close(self.descriptor)


def take(folder: Path) -> StateFolder:
    """Takes a state folder for this process, until it ends or releases it; made where it is missing.

    Raises:
        PermanentError: It is held by another process, is of another version or no state folder, or cannot be written.
    """
    folder = folder.resolve()
    socket_path(folder)
    taken = f"a fleet runs on {folder} already: see `awm status`, end it with `awm down`, or choose another --state"
    if folder.is_dir():
        _check(folder)
    descriptor = keeper.lock(folder, taken)
    try:
        _check(folder)
        if not (folder / MARKER).exists():
            _mark(folder)
    except BaseException:
        os.close(descriptor)
        raise
    return StateFolder(folder, descriptor)


def is_held(folder: Path) -> bool:
    """Whether a process holds a state folder."""
    if not (folder / _LOCK).exists():
        return False
    try:
        os.close(keeper.lock(folder, "held"))
    except errors.PermanentError:
        return True
    return False


def socket_path(folder: Path) -> Path:
    """Where the supervisor of a folder answers.

    Raises:
        PermanentError: The system allows no socket with so long a name.
    """
    path = folder.resolve() / SOCKET
    if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
        raise errors.PermanentError(f"{path} is too long for a socket's name: choose a shorter --state")
    return path


def _mark(folder: Path) -> None:
    unfinished = folder / f"{MARKER}.part"
    try:
        unfinished.write_text(json.dumps({"format": FORMAT}) + "\n")
        unfinished.replace(folder / MARKER)
    except OSError as exc:
        unfinished.unlink(missing_ok=True)
        raise errors.PermanentError(f"the state folder {folder} cannot be written: {exc.strerror}") from exc


def _check(folder: Path) -> None:
    """Refuses what a fleet of this version did not write."""
    marker = folder / MARKER
    try:
        said = json.loads(marker.read_bytes())
        found = said.get("format") if isinstance(said, dict) else None
    except FileNotFoundError:
        if any(path.name not in (_LOCK, LOG) for path in folder.iterdir()):
            raise errors.PermanentError(
                f"{folder} holds other things than a fleet's state: name a new folder with --state"
            ) from None
        return
    except ValueError:
        found = None
    except OSError as exc:
        raise errors.PermanentError(f"{marker} cannot be read: {exc.strerror}") from exc
    if found != FORMAT:
        raise errors.PermanentError(
            f"{folder} is the state of another version of AWM Fleet ({found or 'unknown'}; this one writes {FORMAT}): "
            "its episodes cannot be taken over. Name a new folder with --state, or remove this one"
        )
