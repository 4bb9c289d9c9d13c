"""A run directory: whose it is, what state it is in, and whether it may be written."""

import fcntl
import json
import os
import socket
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from ebm_cli.errors import UserError
from ebm_cli.system.files import remove_leftovers, write_json
from ebm_cli.system.versions import git_commit, versions

StateName = Literal["running", "finished", "interrupted", "diverged", "failed"]


def read_status(path: Path) -> dict[str, Any] | None:
    """The directory's status.json; None where there is none, or none that can be read."""
    try:
        status = json.loads((path / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return status if isinstance(status, dict) else None


class RunDirectory:
    """Holds the directory for one process (flock) and keeps its status.json.

    Args:
        path: the run directory, which exists.

    Raises:
        UserError: another process runs in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = os.open(path / ".lock", os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            owner = read_status(path)
            # One that has just begun has not said so yet.
            whose = f" (pid {owner.get('pid')} on {owner.get('host')})" if owner else ""
            raise UserError(f"{path}: another process is running in it{whose}") from None
        except OSError as error:
            self.close()
            raise UserError(f"{path}: this file system cannot lock it for one process ({error.strerror})") from None
        self._status: dict[str, Any] = {}

    def begin(self, steps: int, config_hash: str) -> None:
        """Mark the run as running, by this process; clear up behind one that was killed."""
        for folder in (self.path, self.path / "checkpoints"):
            remove_leftovers(folder)
        earlier = read_status(self.path) or {}
        self._status = {
            "state": "running",
            "step": earlier.get("step", 0),
            "steps": steps,
            "started": earlier.get("started", _now()),
            "ended": None,
            "reason": None,
            "waited": 0,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "config_hash": config_hash,
            "versions": versions(),
            "git": git_commit(),
        }
        write_json(self.path / "status.json", self._status)

    def set_progress(self, step: int) -> None:
        """Record how far the run is."""
        self._status["step"] = step
        write_json(self.path / "status.json", self._status)

    def record_rollback(self, step: int, history: list[dict[str, Any]]) -> None:
        """Record that the run returned to `step`, and all its rollbacks."""
        self._status |= {"step": step, "rollbacks": history}
        write_json(self.path / "status.json", self._status)

    def finish(self, state: StateName, step: int | None = None, reason: str | None = None, waited: int = 0) -> None:
        """Say how the run ended; without a step, where it was when it began.

        Args:
            state, step, reason: in status.json.
            waited: evaluations at the end that brought no improvement, which `patience` is compared with.
        """
        reached = self._status["step"] if step is None else step
        self._status |= {"state": state, "step": reached, "ended": _now(), "reason": reason, "waited": waited}
        path = self.path / "status.json"
        try:
            write_json(path, self._status)
        except OSError:
            # No room for a second file, on a full disk: in the place of the first, which begin() wrote.
            with path.open("r+", encoding="utf-8") as file:
                file.write(json.dumps(self._status, indent=2) + "\n")
                file.truncate()

    def close(self) -> None:
        """Let another process have the directory."""
        os.close(self._lock)

    def __enter__(self) -> "RunDirectory":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
