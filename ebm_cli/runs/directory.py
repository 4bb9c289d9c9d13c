"""A run directory while its run works in it: locked (`lock`), with its status.json kept current (`status`)."""

import json
import os
import socket
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from ebm_cli.runs.lock import lock_directory
from ebm_cli.runs.status import StateName, read_status
from ebm_cli.system.files import remove_leftovers, write_json
from ebm_cli.system.versions import git_commit, versions


class RunDirectory:
    """A run directory, locked by this process (flock) until `close`.

    Args:
        path: run directory, which exists.

    Raises:
        UserError: another process has locked it, or its file system has no locks.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = lock_directory(path)
        self._status: dict[str, Any] = {}

    def begin(self, steps: int, config_hash: str) -> None:
        """Mark the run as running in this process, and remove what a killed process left."""
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

    @property
    def is_finished(self) -> bool:
        """True once the run is recorded as finished."""
        return self._status.get("state") == "finished"

    def finish(
        self,
        state: StateName,
        step: int | None = None,
        reason: str | None = None,
        waited: int = 0,
        skipped: int = 0,
        evaluated: int | None = None,
    ) -> None:
        """Record how the run ended.

        Args:
            state, reason: in status.json.
            step: that was reached; None for the last one recorded.
            waited: evaluations without improvement at the end, which `patience` is compared with.
            skipped: steps that it is shorter than planned, since the first of two phases ended early.
            evaluated: step of the weights that the results are of; None if there are none.
        """
        reached = self._status["step"] if step is None else step
        self._status |= {"state": state, "step": reached, "ended": _now(), "reason": reason, "waited": waited}
        self._status |= {"skipped": skipped} if skipped else {}
        self._status |= {} if evaluated is None else {"evaluated": evaluated}
        path = self.path / "status.json"
        try:
            write_json(path, self._status)
        except OSError:
            # A full disk has no room for a second file: overwrite the one that begin() wrote.
            with path.open("r+", encoding="utf-8") as file:
                file.write(json.dumps(self._status, indent=2) + "\n")
                file.truncate()

    def close(self) -> None:
        """Release the directory."""
        os.close(self._lock)

    def __enter__(self) -> "RunDirectory":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class UnwrittenDirectory(RunDirectory):
    """The directory of a run for a process that is not its first: not locked, and nothing is written to it.

    Args:
        path: run directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def set_progress(self, step: int) -> None:
        pass

    def record_rollback(self, step: int, history: list[dict[str, Any]]) -> None:
        pass

    def close(self) -> None:
        pass


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
