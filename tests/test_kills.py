"""A run may be stopped anywhere and by anything: what it had written whole is there, and it goes on from that."""

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

import pytest
from conftest import Ebm
from helpers import FAST, at_step, differences, last, no_pictures, trained

from ebm_cli.training.rundir import RunDirectory, read_status


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)


def state_of(run: Path) -> tuple[str, int]:
    status = read_status(run)
    assert status is not None
    return status["state"], status["step"]


# --- signals ----------------------------------------------------------------------------------------------------------

WORDS = [*FAST, "method=pcd", "method.buffer_size=64", "method.k=2", "steps=6"]


def test_a_launcher_is_handed_the_signal_behind_the_checkpoint(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As submitit does: its handler puts the job back into the queue and exits; the run is then begun again."""
    run, found = tmp_path / "run", []

    def requeue(number: int, frame: FrameType | None) -> NoReturn:
        found.append((number, frame is not None, state_of(run), last(run)["step"]))
        RunDirectory(run).close()  # another process may have it at once
        sys.exit(77)

    before = signal.signal(signal.SIGUSR2, requeue)
    try:
        with monkeypatch.context() as patched:
            at_step(patched, 4, lambda: os.kill(os.getpid(), signal.SIGUSR2))
            assert ebm("train", *WORDS, "hydra.run.dir=run").code == 77
        assert signal.getsignal(signal.SIGUSR2) is requeue
        assert found == [(signal.SIGUSR2, True, ("interrupted", 4), 4)]
        assert ebm("train", *WORDS, "hydra.run.dir=run").code == 0
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert state_of(run) == ("finished", 6)
    assert ebm("train", *WORDS, "hydra.run.dir=whole").code == 0
    assert differences(trained(run), trained(tmp_path / "whole")) == []


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR2, 140)], ids=str
)
def test_without_a_launcher_it_says_so_and_exits(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    at_step(monkeypatch, 4, lambda: os.kill(os.getpid(), number))
    ran = ebm("train", *WORDS, "hydra.run.dir=run")
    assert ran.code == code
    assert ran.err == f"ebm: interrupted by {number.name} at step 4; a checkpoint was written\n"
    assert state_of(tmp_path / "run") == ("interrupted", 4)
    assert last(tmp_path / "run")["step"] == 4


def test_a_handler_that_returns_does_not_keep_the_run_going(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As submitit's for SIGTERM, which only notes it."""
    noted: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: noted.append(number))
    try:
        at_step(monkeypatch, 2, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert ebm("train", *WORDS, "hydra.run.dir=run").code == 143
    finally:
        signal.signal(signal.SIGTERM, before)
    assert noted == [signal.SIGTERM]
    assert state_of(tmp_path / "run") == ("interrupted", 2)
