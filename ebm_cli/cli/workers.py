"""Several workers that share tasks: each is started when there is a task for it, and one that dies loses its own."""

from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from typing import Any, Generic, TypeVar

from ebm_cli.cli.worker import Died, Worker

T = TypeVar("T")


class Workers(Generic[T]):
    """Processes of one kind.

    Args:
        start: starts one.
        n: processes at a time, ≥ 1.
        before_last: the class of the messages on a task that are not the last one.
    """

    def __init__(self, start: Callable[[], Worker[T]], n: int, before_last: type) -> None:
        self._start, self._n, self._before_last = start, n, before_last
        self._workers: list[Worker[T]] = []

    @property
    def busy(self) -> list[Worker[T]]:
        """The processes that have a task."""
        return [worker for worker in self._workers if worker.task is not None]

    @property
    def has_room(self) -> bool:
        """True if a process is free, or may be started."""
        return len(self.busy) < self._n

    def give(self, task: T) -> None:
        """Give a task to a free process, which is started if need be."""
        free = next((worker for worker in self._workers if worker.task is None), None)
        if free is None:
            free = self._start()
            self._workers.append(free)
        free.give(task)

    def receive(self, seconds: float) -> Iterator[tuple[T, Any]]:
        """Yield tasks with the messages on them, or that the process died; waits some seconds for the first."""
        busy = {worker.connection: worker for worker in self.busy}
        ready = wait(list(busy), seconds)
        for worker in [worker for connection, worker in busy.items() if connection in ready]:
            message, task = worker.receive(), worker.task
            assert task is not None
            if not isinstance(message, self._before_last):
                worker.task = None
            if isinstance(message, Died):
                self._workers.remove(worker)
                worker.close()
            yield task, message

    def close(self, free: float | None, busy: float | None) -> None:
        """Wait for the ends of processes, `free` and `busy` seconds for those without and with a task; kill the others.

        None is as long as it takes.
        """
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.close(free if worker.task is None else busy)
