"""The worker processes of a sweep, from the parent's side: give out jobs, pass signals on, survive a worker's death."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.resource_tracker import ensure_running
from pathlib import Path
from typing import Any, NamedTuple

from ebm_cli.cli.sweep_cores import THREADS, threads_of_a_job
from ebm_cli.cli.sweep_worker import Began, Ended, Job, Order, Stop, work

REFRESH = 0.5
"""Seconds between two looks at the running jobs."""
PATIENCE = 10.0
"""Seconds that workers have to end after a second Ctrl-C."""


class Died(NamedTuple):
    """A worker ended without a word, for instance because the system had no memory left.

    Attributes:
        exit_code: of its process; −N if signal N killed it.
    """

    exit_code: int


class Worker:
    """One process, and the job that it has."""

    def __init__(self, order: Order, n_threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection: Connection
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=work, args=(theirs, order))
        with _environment(n_threads), _interrupts_held():
            self.process.start()
        theirs.close()
        self.job: Job | None = None

    def give(self, job: Job) -> None:
        """Give it a job; one whose process has died takes it, too, and loses it."""
        self.job = job
        with suppress(OSError):  # its death is noticed by the next `receive`
            self.connection.send(job)

    def receive(self) -> Began | Ended | Died:
        """Its next message, which is there."""
        try:
            message = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            return Died(self.process.exitcode or 0)
        assert isinstance(message, Began | Ended)
        return message

    def stop(self) -> None:
        """Ask it to end its job with a checkpoint."""
        if self.job is not None:
            with suppress(OSError):
                self.connection.send(Stop(self.job.number))

    def close(self, patience: float | None = None) -> None:
        """Wait for its end, or kill it after `patience` seconds."""
        self.connection.close()
        self.process.join(patience)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        self.process.close()


class Pool:
    """Worker processes that share the jobs of a sweep.

    Args:
        order: of the sweep.
        n_workers: processes at a time, >= 1.
    """

    def __init__(self, order: Order, n_workers: int) -> None:
        self._order, self._n = order, n_workers
        self._n_threads = threads_of_a_job(n_workers)
        self._workers: list[Worker] = []

    def run(
        self,
        jobs: Iterator[Job],
        on_begin: Callable[[Job, Path], None],
        on_end: Callable[[Job, Ended | Died], None],
        on_wait: Callable[[], bool],
    ) -> None:
        """Run all jobs, each as soon as a worker is free.

        Args:
            jobs: asked for the next one only when a worker is free.
            on_begin: called with a job and its directory.
            on_end: called when a job has ended.
            on_wait: called every `REFRESH` seconds; True ends the sweep: the running jobs stop, and no other begins.
        """
        is_ending = False
        try:
            while True:
                if not is_ending:
                    self._give_out(jobs)
                busy = {worker.connection: worker for worker in self._workers if worker.job is not None}
                if not busy:
                    return
                ready = wait(list(busy), REFRESH)
                for worker in [worker for connection, worker in busy.items() if connection in ready]:
                    self._hear(worker, on_begin, on_end)
                if on_wait() and not is_ending:
                    is_ending = True
                    for worker in self._workers:
                        worker.stop()
        except BaseException:
            for worker in self._workers:
                worker.stop()
            self._close(PATIENCE)
            raise
        finally:
            self._close(None)

    def stop(self, number: int) -> None:
        """Ask the job of this number to end with its checkpoint; nothing for one that has ended."""
        for worker in self._workers:
            if worker.job is not None and worker.job.number == number:
                worker.stop()

    def _give_out(self, jobs: Iterator[Job]) -> None:
        """Give a job to every free worker, which is started if need be."""
        while True:
            free = next((worker for worker in self._workers if worker.job is None), None)
            if free is None and len(self._workers) == self._n:
                return
            job = next(jobs, None)
            if job is None:
                return
            if free is None:
                free = Worker(self._order, self._n_threads)
                self._workers.append(free)
            free.give(job)

    def _hear(
        self, worker: Worker, on_begin: Callable[[Job, Path], None], on_end: Callable[[Job, Ended | Died], None]
    ) -> None:
        message, job = worker.receive(), worker.job
        assert job is not None
        if isinstance(message, Began):
            on_begin(job, message.directory)
            return
        worker.job = None
        if isinstance(message, Died):
            self._workers.remove(worker)
            worker.close()
        on_end(job, message)

    def _close(self, patience: float | None) -> None:
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.close(patience)


@contextmanager
def _environment(n_threads: int) -> Iterator[None]:
    """Let a process that is started in the block take this many threads where its libraries choose."""
    before: Any = os.environ.get(THREADS)
    os.environ[THREADS] = str(n_threads)
    try:
        yield
    finally:
        del os.environ[THREADS]
        if before is not None:
            os.environ[THREADS] = before


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back while a process starts, which inherits this until it has a group of its own."""
    ensure_running()  # otherwise a part of the start, at the end of which interrupts are let through
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
