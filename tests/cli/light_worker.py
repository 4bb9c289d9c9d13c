"""Workers for the tests of the pool, without torch: their jobs do what their first override says."""

import os
import signal
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ebm_cli.cli.sweep_worker import Began, Ended


def light_work(connection: Connection, order: Any) -> None:
    """`value=X` returns X with the process's number and threads, `die` kills the process, `wait` waits for a signal."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    with suppress(EOFError, KeyboardInterrupt):
        while (job := connection.recv()) is not None:
            try:
                connection.send(Began(Path(f"{order}-{job.number}")))
                word, _, value = job.overrides[0].partition("=")
                if word == "die":
                    os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60 if word == "wait" else 0)
            except KeyboardInterrupt:
                connection.send(Ended(is_interrupted=True))
                return
            connection.send(Ended((value, os.getpid(), os.environ["OMP_NUM_THREADS"])))
