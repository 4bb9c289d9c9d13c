"""The lock of a run directory, which one process at a time may hold."""

import fcntl
import os
from pathlib import Path

from ebm_cli.errors import UserError
from ebm_cli.runs.status import read_status

FILE = ".lock"


def lock_directory(path: Path) -> int:
    """Lock a run directory for this process (flock).

    Args:
        path: run directory, which exists.

    Returns:
        The descriptor of the lock file; closing it, or the end of the process, releases the lock.

    Raises:
        UserError: another process has locked it, or its file system has no locks.
    """
    lock = os.open(path / FILE, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        owner = read_status(path)
        # A process that has just begun has not written its status yet.
        whose = f" (pid {owner.get('pid')} on {owner.get('host')})" if owner else ""
        raise UserError(
            f"{path}: another process is running in it{whose}; wait for it, end it, or choose another directory with "
            "hydra.run.dir=PATH"
        ) from None
    except OSError as error:
        os.close(lock)
        raise UserError(
            f"{path}: this file system has no locks ({error.strerror}); choose another with hydra.run.dir=PATH"
        ) from None
    return lock
