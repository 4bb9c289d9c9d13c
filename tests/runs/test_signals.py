"""Signals during a run."""

import signal
import subprocess
from typing import Any

import pytest

from ebm_cli.runs.signals import Interrupted, Signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR2, 140)])
def test_signal_is_recorded_while_deferred_else_raised(number: int, code: int) -> None:
    before = signal.getsignal(number)
    with Signals() as signals:
        with signals.deferred():
            signal.raise_signal(number)
            assert signals.received == number
            with pytest.raises(Interrupted) as twice:
                signal.raise_signal(number)
        assert twice.value.exit_code == code
    with Signals() as signals, pytest.raises(Interrupted, match="interrupted by SIG"):
        signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_what_a_launcher_starts_is_not_ended_with_its_job() -> None:
    """As `scontrol requeue`, which Slurm ends together with the job that it puts back into the queue."""
    codes: list[int] = []

    def requeue(number: int, frame: Any) -> None:
        codes.append(subprocess.run(["sh", "-c", "kill -TERM $$; exit 7"], check=False).returncode)

    ends = signal.getsignal(signal.SIGTERM)
    before = signal.signal(signal.SIGUSR2, requeue)
    try:
        requeue(signal.SIGUSR2, None)
        with pytest.raises(Interrupted), Signals():
            signal.raise_signal(signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert codes == [-signal.SIGTERM, 7]
    assert signal.getsignal(signal.SIGTERM) == ends


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_the_handler_of_a_launcher_is_called_at_the_end(number: int) -> None:
    called: list[int] = []
    before = signal.signal(number, lambda number, frame: called.append(number))
    try:
        with pytest.raises(Interrupted), Signals():
            signal.raise_signal(number)
    finally:
        signal.signal(number, before)
    assert called == [number]
