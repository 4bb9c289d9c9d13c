"""Signals during a run."""

import signal

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
