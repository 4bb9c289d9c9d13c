"""Workers for the tests of the pool, without torch: their jobs do what their first override says."""

import os
import signal
import time
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ebm_cli.cli.sweep_worker import Began, Ended, Job, Post


def light_work(connection: Connection, order: Any) -> None:
    """`value=X` returns X with the process's number and threads, `die` kills the process, `wait` waits for a signal."""
    # What runs tests in the background may have told them to ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    post = Post(connection)
    while (job := post.next_job()) is not None:
        connection.send(Began(Path(f"{order}-{job.number}")))
        connection.send(post.run(job, partial(act, job)))


def act(job: Job) -> Ended:
    word, _, value = job.overrides[0].partition("=")
    if word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60 if word == "wait" else 0)
    return Ended((value, os.getpid(), os.environ["OMP_NUM_THREADS"]))
