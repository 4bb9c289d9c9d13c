"""Handling of SIGINT, SIGTERM and SIGUSR2 during a run."""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType, TracebackType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """A signal ended the run, and its sweep. Exit code 128 + the signal's number."""

    def __init__(self, number: int, where: str = "") -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}{where}")
        self.number = number
        self.exit_code = 128 + number


class Signals:
    """Context in which SIGINT, SIGTERM and SIGUSR2 raise `Interrupted`.

    While `deferred`, the first signal is only recorded, so that the loop can end after its step and write a checkpoint.
    At the end of the context the signal is passed to the handler that a launcher had installed: that of submitit
    requeues the job when SIGUSR2 announces its time limit.

    Args:
        echo: seconds for which a second signal is the first one again: torchrun passes on what its processes, which
            share a terminal with it, have received already.

    Attributes:
        received: number of the recorded signal; None if there was none.
    """

    def __init__(self, echo: float = 0.0) -> None:
        self.received: int | None = None
        self._echo, self._first = echo, -math.inf
        self._n_deferring = 0
        self._before: dict[int, Any] = {}

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Record the first signal in `received` inside the block; a second one raises at once.

        Several runs of one process may be in such a block at a time.
        """
        self._n_deferring += 1
        try:
            yield
        finally:
            self._n_deferring -= 1

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and time.monotonic() < self._first + self._echo:
            return
        if self.received is not None or not self._n_deferring:
            raise Interrupted(number)
        self.received, self._first = number, time.monotonic()

    def __enter__(self) -> "Signals":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
            try:
                self._before[number] = signal.signal(number, self._handle)
            except ValueError:
                # Not in the main thread (a launcher's worker), whose owner handles signals.
                break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if isinstance(error, Interrupted):
            earlier = self._before.get(error.number)
            if callable(earlier) and earlier is not signal.default_int_handler:
                with _commands_outlive_their_job() if error.number == signal.SIGUSR2 else nullcontext():
                    # Raised again instead of a call, so that the handler gets a proper frame. If it returns, the run
                    # ends.
                    signal.raise_signal(error.number)


@contextmanager
def _commands_outlive_their_job() -> Iterator[None]:
    """Let the commands that a launcher's handler starts in the block ignore SIGTERM, which they inherit.

    Slurm ends all processes of a job as soon as it reads `scontrol requeue`: also that command, and submitit would
    report a job as failed that is in the queue again.
    """
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
