"""The table of a running sweep: states, steps, results and the time left, from the files of the jobs."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from rich.console import Console

from ebm_cli.cli import sweep_watch
from ebm_cli.cli.sweep_board import SweepBoard, differing
from ebm_cli.cli.sweep_failures import JobFailed
from ebm_cli.cli.sweep_watch import JobWatch
from ebm_cli.cli.sweep_worker import Job
from ebm_cli.reporting.sweep_table import JobRow, SweepTable


def write(run: Path, state: str, step: int, *rows: dict[str, Any]) -> None:
    run.mkdir(exist_ok=True)
    (run / "status.json").write_text(json.dumps({"state": state, "step": step, "steps": 100}))
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(sweep_watch.time, "monotonic", lambda: now[0])
    return now


def test_a_watch_reads_step_result_and_time_left(tmp_path: Path, clock: list[float]) -> None:
    watch = JobWatch(tmp_path)
    watch.read()
    assert (watch.state, watch.step, watch.result, watch.seconds_left) == ("", None, None, None)
    write(tmp_path, "running", 0, {"step": 10, "train/loss": 0.5})
    watch.read()
    assert (watch.state, watch.step, watch.steps, watch.result) == ("running", 10, 100, ("train/loss", 0.5))
    clock[0] = 4.0
    write(tmp_path, "running", 0, {"step": 10, "train/loss": 0.5}, {"step": 30, "train/loss": 0.4, "val/nll": 2.0})
    watch.read()
    assert (watch.step, watch.result) == (30, ("val/nll", 2.0))
    assert watch.seconds_left == pytest.approx(70 * 4.0 / 20)
    # A loss takes no result's place, and a file that is cut back by a run that resumes is read anew.
    (tmp_path / "metrics.jsonl").rename(tmp_path / "earlier.jsonl")
    write(tmp_path, "running", 0, {"step": 10, "train/loss": 0.3})
    watch.read()
    assert (watch.step, watch.result) == (10, ("val/nll", 2.0))


def test_a_line_that_is_being_written_is_left_for_the_next_look(tmp_path: Path) -> None:
    write(tmp_path, "running", 0, {"step": 10, "train/loss": 0.5})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 20, "tra')
    watch = JobWatch(tmp_path)
    watch.read()
    assert watch.step == 10
    write(tmp_path, "running", 0, {"step": 10, "train/loss": 0.5}, {"step": 20, "train/loss": 0.4})
    watch.read()
    assert (watch.step, watch.result) == (20, ("train/loss", 0.4))


def test_a_job_that_samples_is_followed_by_its_manifest(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"n_written": 400, "n_samples": 1000}))
    watch = JobWatch(tmp_path)
    watch.read()
    assert (watch.is_sampling, watch.step, watch.steps) == (True, 400, 1000)


JOBS = [Job(0, ["lr=1", "seed=1", "hydra.x=1"]), Job(1, ["lr=1", "seed=2", "hydra.x=2"])]


def test_only_what_differs_is_shown_of_a_job() -> None:
    assert differing(JOBS) == ["seed=1", "seed=2"]
    assert differing(JOBS[:1]) == ["lr=1 seed=1"]


def screen(is_terminal: bool) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=100, force_terminal=is_terminal, color_system=None), file


def play(tmp_path: Path, console: Console, clock: list[float]) -> None:
    """Two jobs, of which one finishes and one diverges."""
    with SweepTable(console) as table:
        board = SweepBoard(table, 1, 2)
        board.expect(JOBS, differing(JOBS))
        board.began(JOBS[0], tmp_path / "0")
        write(tmp_path / "0", "running", 0, {"step": 50, "train/loss": 0.5})
        board.refresh()
        clock[0] = 20.0
        write(tmp_path / "0", "finished", 100, {"step": 100, "eval/kl": 0.25})
        board.ended(JOBS[0], None)
        assert board.summary() == "1 of 2 jobs done, about 20 s left"
        board.began(JOBS[1], tmp_path / "1")
        line = "job 1 (lr=1 seed=2): diverged at step 7: the loss is not finite, and this is a long reason"
        board.ended(JOBS[1], JobFailed(3, OmegaConf.create({}), tmp_path, line))
        assert board.summary() == "2 of 2 jobs done"
        assert (board.count("finished"), board.count("diverged")) == (1, 1)


def test_a_job_that_is_evaluated_has_no_time_of_training_left(tmp_path: Path, clock: list[float]) -> None:
    console, file = screen(is_terminal=True)
    with SweepTable(console) as table:
        board = SweepBoard(table, 1, 1)
        board.expect(JOBS[:1], ["seed=1"])
        board.began(JOBS[0], tmp_path / "0")
        for seconds, step in ((0.0, 50), (20.0, 75), (30.0, 100)):
            clock[0] = seconds
            write(tmp_path / "0", "running", step)
            board.refresh()
    rows = [" ".join(line.split()) for line in file.getvalue().splitlines()]
    assert "0 seed=1 training 75/100 20 s" in rows
    assert "0 seed=1 evaluating 100/100" in rows
    assert "0 of 1 jobs done, 1 running, at least 20 s left" in rows


def test_a_file_gets_one_line_when_a_job_begins_or_ends(tmp_path: Path, clock: list[float]) -> None:
    console, file = screen(is_terminal=False)
    play(tmp_path, console, clock)
    assert file.getvalue().splitlines() == [
        "job 0 (seed=1) begins",
        "job 0 (seed=1) finished: eval/kl 0.2500; 1 of 2 jobs done, about 20 s left",
        "job 1 (seed=2) begins",
        "job 1 (seed=2) diverged: diverged at step 7: the loss is not finite, and this is a long reason; "
        "2 of 2 jobs done",
    ]


def test_a_terminal_gets_a_table_that_is_drawn_anew(tmp_path: Path, clock: list[float]) -> None:
    console, file = screen(is_terminal=True)
    play(tmp_path, console, clock)
    drawn = file.getvalue()
    rows = [" ".join(line.split()) for line in drawn.splitlines()]
    assert "0 seed=1 training 50/100 train/loss 0.5000" in rows
    assert "0 seed=1 finished 100/100 eval/kl 0.2500" in rows
    assert "1 seed=2 waiting" in rows
    assert [row for row in rows if "1 seed=2 diverged diverged at step 7: the loss is not fin…" in row]
    assert "begins" not in drawn


@pytest.mark.parametrize("width", [40, 60, 100])
def test_running_jobs_and_summary_fit_on_a_small_screen(width: int) -> None:
    """Forty jobs, most of which failed; a narrow screen takes several lines for each."""
    file = io.StringIO()
    console = Console(file=file, width=width, height=24, force_terminal=True, color_system=None)
    rows = [
        JobRow(
            i, f"method=nce dataset=eight_gaussians seed={i}", "diverged", 70, 100, None, None, "the loss is not finite"
        )
        for i in range(38)
    ]
    rows += [JobRow(i, f"method=nce dataset=eight_gaussians seed={i}", "training", 5, 100) for i in (38, 39)]
    with SweepTable(console) as table:
        table.update(rows, "38 of 40 jobs done")
        drawn = file.getvalue()
    lines = drawn.strip().splitlines()
    assert len(lines) < 24
    assert "seed=38" in drawn
    assert "seed=39" in drawn
    assert " more jobs" in lines[-2]
    assert lines[-1].endswith("38 of 40 jobs done")
