"""The log of a command: its start, its events and its end, whatever that is."""

import json
import logging
import signal
from pathlib import Path
from typing import Any

import pytest

from ebm_cli.cli.job_log import logged_if_refused
from ebm_cli.errors import NotTrustworthy, UserError
from ebm_cli.runs.signals import Interrupted
from tests.support import FAST, Ebm, StandIn, at_step, no_pictures


def lines(path: Path) -> list[str]:
    """The lines of a log without their times and module names; those of a traceback are left out."""
    found = path.read_text().splitlines()
    return [line.partition("] - ")[2] for line in found if "] - " in line]


def test_log_of_a_run_says_how_it_ran(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)
    words = ["steps=4", "checkpoint_every=2", "eval_every=2", "hydra.run.dir=run"]
    assert ebm("train", *FAST, *words).code == 0
    log = lines(tmp_path / "run" / "train.log")
    assert log[0].startswith("started: ebm train energy.width=8 ")
    assert log[0].endswith(f"(in {tmp_path})")
    assert "dataset gaussian" in log[1]
    assert "4 steps of 16 rows, seed 0, device cpu" in log[1]
    assert [line for line in log if line.startswith("checkpoint")] == ["checkpoint of step 2", "checkpoint of step 4"]
    assert any(line.startswith("best so far: val/fisher ") for line in log)
    assert "evaluation: score (1 of 1)" in log
    word = json.loads((tmp_path / "run" / "results.json").read_text())["eval/overall"]
    assert any(line.startswith(f"{word.capitalize()}: ") for line in log)
    assert log[-1].startswith("ended after ")
    assert log[-1].endswith("exit code 0")


def test_log_of_a_resumed_run_goes_on(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)
    assert ebm("train", *FAST, "steps=4", "hydra.run.dir=run").code == 0
    assert ebm("train", "checkpoint=run", "steps=6").code == 0
    log = lines(tmp_path / "run" / "train.log")
    assert [line.partition(" ")[0] for line in log].count("started:") == 2
    assert "resumed from step 4 (last.pt)" in log


def interrupt() -> None:
    signal.raise_signal(signal.SIGTERM)


def test_log_of_a_terminated_run_names_the_signal(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_step(monkeypatch, 3, interrupt)
    assert ebm("train", *FAST, "steps=9", "hydra.run.dir=run").code == 143
    last = lines(tmp_path / "run" / "train.log")[-1]
    assert last.endswith("interrupted by SIGTERM at step 3; a checkpoint was written (exit code 143)")


ENDS: list[tuple[BaseException, str]] = [
    (UserError("dataset.path=x: no such file"), "failed: dataset.path=x: no such file (exit code 1)"),
    (NotTrustworthy("3 chains never moved"), "finished, not to be trusted: 3 chains never moved (exit code 4)"),
    (Interrupted(signal.SIGINT), "interrupted by SIGINT (exit code 130)"),
]


@pytest.mark.parametrize(("error", "end"), ENDS)
def test_log_of_a_command_ends_with_its_error(
    ebm: Ebm, stand_in: StandIn, tmp_path: Path, error: BaseException, end: str
) -> None:
    def task(cfg: Any) -> None:
        raise error

    stand_in("train", task)
    assert ebm("train", "seed=3", "hydra.run.dir=run").code != 0
    log = lines(tmp_path / "run" / "train.log")
    assert log == [f"started: ebm train seed=3 (in {tmp_path})", f"ended after 0 s: {end}"]
    assert "Traceback" not in (tmp_path / "run" / "train.log").read_text()


def test_traceback_is_in_the_log_only(ebm: Ebm, stand_in: StandIn, tmp_path: Path) -> None:
    stand_in("train", lambda cfg: 1 / 0)
    ran = ebm("train", "hydra.run.dir=run")
    assert "Traceback" not in ran.err
    text = (tmp_path / "run" / "train.log").read_text()
    assert "failed: ZeroDivisionError: division by zero (" in text
    assert "Traceback" in text


def test_jobs_of_a_sweep_have_their_own_logs(ebm: Ebm, stand_in: StandIn, tmp_path: Path) -> None:
    stand_in("train", lambda cfg: 1 / (cfg.seed - 1))
    assert ebm("train", "-m", "seed=1,2", "hydra.sweep.dir=sweep").code == 1
    failed, finished = (lines(tmp_path / "sweep" / job / "train.log") for job in "01")
    assert failed[0].startswith("started: ebm train seed=1 ")
    assert "ZeroDivisionError" in failed[-1]
    assert finished[-1] == "ended after 0 s: exit code 0"


def test_job_that_is_refused_at_its_start_is_in_its_log(caplog: pytest.LogCaptureFixture) -> None:
    """A sweeper that chooses one job after the other has each validated as it starts, behind the set-up of its log."""
    with caplog.at_level(logging.INFO), pytest.raises(UserError), logged_if_refused("train", ["steps=0"]):
        raise UserError("steps must be >= 1, got 0")
    started, ended = caplog.messages
    assert started.startswith("started: ebm train steps=0 (in ")
    assert ended == "ended after 0 s: failed: steps must be >= 1, got 0 (exit code 1)"
    with logged_if_refused("train", ["steps=1"]):
        pass
    assert len(caplog.messages) == 2


def test_verbs_without_a_directory_log_nothing(ebm: Ebm, stand_in: StandIn) -> None:
    stand_in("runs", lambda cfg: 1 / 0)
    ran = ebm("runs")
    assert ran.err.count("\n") == 1
