"""The worker processes of a sweep, from the parent's side: give out jobs, pass signals on, survive a worker's death."""

from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from pathlib import Path

from ebm_cli.cli.sweep_cores import threads_of_a_job
from ebm_cli.cli.sweep_worker import Began, Ended, Job, Order, Stop, work
from ebm_cli.cli.worker import Died, Worker

REFRESH = 0.5
"""Seconds between two looks at the running jobs."""
PATIENCE = 10.0
"""Seconds that workers have to end after a second Ctrl-C."""


class Pool:
    """Worker processes that share the jobs of a sweep.

    Args:
        order: of the sweep.
        n_workers: processes at a time, >= 1.
    """

    def __init__(self, order: Order, n_workers: int) -> None:
        self._order, self._n = order, n_workers
        self._n_threads = threads_of_a_job(n_workers)
        self._workers: list[Worker[Job]] = []

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
                busy = {worker.connection: worker for worker in self._workers if worker.task is not None}
                if not busy:
                    return
                ready = wait(list(busy), REFRESH)
                for worker in [worker for connection, worker in busy.items() if connection in ready]:
                    self._hear(worker, on_begin, on_end)
                if on_wait() and not is_ending:
                    is_ending = True
                    self._stop_all()
        except BaseException:
            self._stop_all()
            self._close(PATIENCE)
            raise
        finally:
            self._close(None)

    def stop(self, number: int) -> None:
        """Ask the job of this number to end with its checkpoint; nothing for one that has ended."""
        for worker in self._workers:
            if worker.task is not None and worker.task.number == number:
                worker.tell(Stop(number))

    def _stop_all(self) -> None:
        for worker in self._workers:
            if worker.task is not None:
                worker.tell(Stop(worker.task.number))

    def _give_out(self, jobs: Iterator[Job]) -> None:
        """Give a job to every free worker, which is started if need be."""
        while True:
            free = next((worker for worker in self._workers if worker.task is None), None)
            if free is None and len(self._workers) == self._n:
                return
            job = next(jobs, None)
            if job is None:
                return
            if free is None:
                free = Worker(work, (self._order,), self._n_threads)
                self._workers.append(free)
            free.give(job)

    def _hear(
        self, worker: Worker[Job], on_begin: Callable[[Job, Path], None], on_end: Callable[[Job, Ended | Died], None]
    ) -> None:
        message, job = worker.receive(), worker.task
        assert job is not None
        assert isinstance(message, Began | Ended | Died)
        if isinstance(message, Began):
            on_begin(job, message.directory)
            return
        worker.task = None
        if isinstance(message, Died):
            self._workers.remove(worker)
            worker.close()
        on_end(job, message)

    def _close(self, patience: float | None) -> None:
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.close(patience)
