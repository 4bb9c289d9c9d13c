"""Handling of SIGINT, SIGTERM and SIGUSR2 during a run."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """A signal asked the run to stop, and with it a sweep. Exit code 128 + the signal's number."""

    def __init__(self, number: int, where: str = "") -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}{where}")
        self.number = number
        self.exit_code = 128 + number


class Signals:
    """Inside the block SIGINT, SIGTERM and SIGUSR2 raise `Interrupted`; while `deferred`, the first one is noted alone.

    So the loop can end after its step, with a checkpoint. Where a launcher had a handler of its own, the signal is then
    handed over to it: submitit's puts the job back into the queue when SIGUSR2 tells that its time is nearly up.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._deferred = False
        self._before: dict[int, Any] = {}

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside this block a signal is noted in `received`; a second one is obeyed at once."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None or not self._deferred:
            raise Interrupted(number)
        self.received = number

    def __enter__(self) -> "Signals":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
            try:
                self._before[number] = signal.signal(number, self._note)
            except ValueError:
                # Not the main thread (a launcher's worker): its owner handles signals.
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
                # Sent again, not called: it gets the frame that it is to be called with. If it returns, the run ends.
                signal.raise_signal(error.number)
