"""A process that is given one task after the other, from the side of the process that started it."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.resource_tracker import ensure_running
from typing import Any, Generic, NamedTuple, TypeVar

from ebm_cli.cli.sweep_cores import THREADS

T = TypeVar("T")


class Died(NamedTuple):
    """A worker ended without a word, for instance because the system had no memory left.

    Attributes:
        exit_code: of its process; −N if signal N killed it.
    """

    exit_code: int

    @property
    def how(self) -> str:
        """The end of its process, in words."""
        code = self.exit_code
        return f"was killed by signal {-code} (9 is often the system's, for want of memory)" if code < 0 else "ended"


class Worker(Generic[T]):
    """One process, and the task that it has.

    Args:
        work: what the process runs, a function of a module: it is given its end of the connection, then `arguments`.
        arguments: can be pickled.
        n_threads: that its libraries take where they choose.
    """

    def __init__(self, work: Callable[..., None], arguments: tuple[Any, ...], n_threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection: Connection
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=work, args=(theirs, *arguments))
        with _environment(n_threads), _interrupts_held():
            self.process.start()
        theirs.close()
        self.task: T | None = None

    def give(self, task: T) -> None:
        """Give it a task; one whose process has died takes it, too, and loses it."""
        self.task = task
        self.tell(task)

    def tell(self, message: Any) -> None:
        """Send it a message; the death of its process is noticed by the next `receive`."""
        with suppress(OSError):
            self.connection.send(message)

    def receive(self) -> Any:
        """Its next message, which is there, or that it died."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            return Died(self.process.exitcode or 0)

    def close(self, patience: float | None = None) -> None:
        """Wait for its end, or kill it after `patience` seconds."""
        self.connection.close()
        self.process.join(patience)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        self.process.close()


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
