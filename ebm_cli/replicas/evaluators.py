"""Processes that make the final evaluations of runs, several at a time.

A process reads a run's checkpoint and its data, and sends back what it has measured. It writes nothing: one that is
killed costs an evaluation. The run itself continues where it was trained.
"""

import os
import pickle
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from types import TracebackType
from typing import NamedTuple, Self

from ebm_cli.cli.worker import Died, Worker
from ebm_cli.cli.workers import Workers
from ebm_cli.errors import ProcessLost, UserError, describe
from ebm_cli.runs.signals import Interrupted, Signals
from ebm_cli.training.final_evaluation import Measured, Stored, evaluate_stored

REFRESH = 0.2
"""Seconds between two looks at the signals."""
PATIENCE = 10.0
"""Seconds that processes without work have to end; others are not waited for."""

_Task = tuple[int, Stored]
"""The number of a run, and what is evaluated."""


class Stage(NamedTuple):
    """A message of a process: a stage of its evaluation begins."""

    name: str
    number: int
    total: int


class Failed(NamedTuple):
    """A message of a process: the evaluation failed.

    Attributes:
        line: the message of a `UserError`, or a description of another error.
        trace: the traceback of another error; empty for a `UserError`.
    """

    line: str
    trace: str = ""

    @property
    def error(self) -> Exception:
        """The error, for the run."""
        if not self.trace:
            return UserError(self.line)
        error = RuntimeError(self.line)
        error.add_note(self.trace)
        return error


class Evaluators:
    """Processes that are started when the first evaluation is asked for, and end with the block.

    Args:
        n: processes at a time, ≥ 1.
        n_threads: that the libraries of each take where they choose.
        threads: `threads` of the runs' configs.
        signals: one that is received ends the evaluations.
    """

    def __init__(self, n: int, n_threads: int, threads: int | str, signals: Signals) -> None:
        self._signals = signals
        self._queue: deque[_Task] = deque()
        self._workers: Workers[_Task] = Workers(lambda: Worker(work, (threads,), n_threads), n, Stage)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workers.close(PATIENCE, 0.0)

    def give(self, number: int, stored: Stored) -> None:
        """Have the run of this number evaluated as soon as a process is free."""
        self._queue.append((number, stored))
        self._give_out()

    def collect(self, *, waits: bool) -> list[tuple[int, Stage | Measured | BaseException]]:
        """Return what processes say of the runs that they have, with the runs' numbers.

        Args:
            waits: whether to wait for a message for some time, which is not needed while something else is to be done.

        Raises:
            Interrupted: by a signal, while nothing else is to be done.
        """
        if waits and self._signals.received is not None:
            raise Interrupted(self._signals.received, " during the evaluation")
        found = [(number, _told(message)) for (number, _), message in self._workers.receive(REFRESH if waits else 0)]
        self._give_out()
        return found

    def _give_out(self) -> None:
        while self._queue and self._workers.has_room:
            self._workers.give(self._queue.popleft())


def _told(message: Stage | Measured | Failed | Died) -> Stage | Measured | BaseException:
    if isinstance(message, Died):
        return ProcessLost(f"the process that evaluated the run {message.how}")
    return message.error if isinstance(message, Failed) else message


def work(connection: Connection, threads: int | str) -> None:
    """Evaluate one run after the other until the parent has no more, or is gone.

    Args:
        connection: to the parent; it sends a number and a `Stored`, and is sent `Stage`s and a `Measured` or `Failed`.
        threads: of the runs' configs.
    """
    os.setpgid(0, 0)  # the terminal's Ctrl-C is for the parent
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    with suppress(EOFError, OSError):
        while True:
            _, stored = connection.recv()
            _send(connection, _evaluated(stored, threads, lambda *stage: _send(connection, Stage(*stage))))


def _evaluated(stored: Stored, threads: int | str, begin: Callable[[str, int, int], None]) -> Measured | Failed:
    try:
        return evaluate_stored(stored, threads, begin)
    except UserError as error:
        return Failed(str(error))
    except Exception as error:
        return Failed(describe(error), "".join(traceback.format_exception(error)))


def _send(connection: Connection, message: Stage | Measured | Failed) -> None:
    # By value: torch would send a tensor as a place in memory, which ends with this process.
    connection.send_bytes(pickle.dumps(message))


def _end_with_the_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
