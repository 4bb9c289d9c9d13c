"""The worker processes of a sweep, from the parent's side: give out jobs, pass signals on, survive a worker's death."""

from collections.abc import Callable, Iterator
from pathlib import Path

from ebm_cli.cli.sweep_cores import threads_of_a_job
from ebm_cli.cli.sweep_worker import Began, Ended, Job, Order, Stop, work
from ebm_cli.cli.worker import Died, Worker
from ebm_cli.cli.workers import Workers

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
        n_threads = threads_of_a_job(n_workers)
        self._workers: Workers[Job] = Workers(lambda: Worker(work, (order,), n_threads), n_workers, Began)

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
                while not is_ending and self._workers.has_room and (job := next(jobs, None)) is not None:
                    self._workers.give(job)
                if not self._workers.busy:
                    return
                for job, message in self._workers.receive(REFRESH):
                    if isinstance(message, Began):
                        on_begin(job, message.directory)
                    else:
                        on_end(job, message)
                if on_wait() and not is_ending:
                    is_ending = True
                    self._stop_all()
        except BaseException:
            self._stop_all()
            self._workers.close(PATIENCE, PATIENCE)
            raise
        finally:
            self._workers.close(None, None)

    def stop(self, number: int) -> None:
        """Ask the job of this number to end with its checkpoint; nothing for one that has ended."""
        for worker in self._workers.busy:
            if worker.task is not None and worker.task.number == number:
                worker.tell(Stop(number))

    def _stop_all(self) -> None:
        for worker in self._workers.busy:
            if worker.task is not None:
                worker.tell(Stop(worker.task.number))
