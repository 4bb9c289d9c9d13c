"""Failed jobs of a sweep: the others run, the failures are listed at the end, and a rerun retries them."""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import OmegaConf

from ebm_cli.cli.sweep_failures import JobFailed, clear_failures, read_failures, write_failure
from ebm_cli.cli.task import Task
from ebm_cli.errors import NotTrustworthy
from ebm_cli.runs.status import read_status
from ebm_cli.training.session import Session
from tests.support import FAST, TINY, Ebm, StandIn, differences, no_pictures, trained


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)


def states(sweep: Path) -> list[str]:
    found = [read_status(job) for job in sorted(sweep.iterdir()) if job.is_dir()]
    return [status["state"] if status else "none" for status in found]


SWEEP = [*FAST, "-m", "seed=1,2,3", "steps=4", "checkpoint_every=2", "hydra.sweep.dir=sweep"]


@pytest.mark.slow
def test_sweep_lists_failures_and_retries_them_when_rerun(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, log = tmp_path / "sweep", Session._log
    failing: dict[int, BaseException] = {}
    trained: list[tuple[int, int]] = []

    def log_or_fail(session: Session, out: Any) -> None:
        trained.append((session.keys.seed, session.trainer.step))
        if session.keys.seed in failing and session.trainer.step == 3:
            raise failing[session.keys.seed]
        log(session, out)

    monkeypatch.setattr(Session, "_log", log_or_fail)
    failing |= {1: ZeroDivisionError("of a test"), 2: KeyboardInterrupt()}
    assert ebm("train", *SWEEP).code == 130
    assert states(sweep) == ["failed", "interrupted"]

    # Both are retried from their checkpoints, and the second fails again; the third job runs all the same.
    trained.clear()
    failing.clear()
    failing[2] = ZeroDivisionError("of a test")
    ran = ebm("train", *SWEEP)
    assert ran.code == 1
    assert trained == [(1, 3), (1, 4), (2, 3), (3, 1), (3, 2), (3, 3), (3, 4)]
    assert states(sweep) == ["finished", "failed", "finished"]
    once, listed, why = ran.err.splitlines()
    assert once == why
    assert why.startswith("ebm: job 1 (")
    assert " seed=2 steps=4 checkpoint_every=2): ZeroDivisionError: of a test (" in why
    assert listed == (
        f"ebm: 1 job failed; rerun the same command with hydra.sweep.dir={sweep} to retry (finished jobs are skipped)"
    )

    failing.clear()
    trained.clear()
    weights = (sweep / "0" / "checkpoints" / "last.pt").read_bytes()
    ran = ebm("train", *SWEEP)
    assert (ran.code, ran.err) == (0, "")
    assert trained == [(2, 3), (2, 4)]
    assert states(sweep) == ["finished"] * 3
    assert ran.out.count("finished at step 4, nothing to do") == 2
    assert (sweep / "0" / "checkpoints" / "last.pt").read_bytes() == weights


returned: list[Any] = []


class Returned(Callback):
    """Keeps what each job returns to the sweeper."""

    def on_job_end(self, config: Any, job_return: JobReturn, **kwargs: Any) -> None:
        returned.append(job_return.return_value)


@pytest.mark.slow
@pytest.mark.slow
def test_finished_job_returns_its_stored_result(ebm: Ebm, tmp_path: Path) -> None:
    """To the sweeper: the number in results.json, although it is not measured again."""
    returned.clear()
    words = ["-m", "seed=1,2", "steps=2", "hydra.sweep.dir=sweep", "monitor=eval/fisher"]
    for _ in range(2):
        ran = ebm("train", *FAST, *words, f"+hydra.callbacks.returned._target_={__name__}.Returned")
        assert ran.code == 0, ran.err
    stored = [json.loads((tmp_path / "sweep" / job / "results.json").read_text())["val/fisher"] for job in "01"]
    assert returned == stored * 2


class Diverges(Exception):
    exit_code = 3


def test_sweep_continues_after_a_failed_job(ebm: Ebm, stand_in: StandIn) -> None:
    def task(cfg: Any) -> None:
        if cfg.seed != 2:
            raise Diverges(f"seed {cfg.seed} diverged")

    seen = stand_in("train", task)
    ran = ebm("train", "-m", "seed=1,2,3")
    assert [cfg.seed for cfg in seen] == [1, 2, 3]
    assert ran.code == 3
    lines = [line for line in ran.err.splitlines() if line.startswith("ebm: ")]
    failed = ["job 0 (seed=1): seed 1 diverged", "job 2 (seed=3): seed 3 diverged"]
    assert lines[:2] == [f"ebm: {line}" for line in failed]
    assert lines[2].startswith("ebm: 2 jobs failed; rerun the same command with hydra.sweep.dir=/")
    assert lines[3:] == [f"ebm: {line}" for line in failed]


def test_failed_job_returns_none_to_hydra(ebm: Ebm, stand_in: StandIn) -> None:
    returned.clear()
    stand_in("train", lambda cfg: 1 / (cfg.seed - 1))
    ran = ebm("train", "-m", "seed=1,2", f"+hydra.callbacks.returned._target_={__name__}.Returned")
    assert ran.code == 1
    assert returned == [None, 1.0]


def test_failed_sweep_is_finalized(ebm: Ebm, stand_in: StandIn, tmp_path: Path) -> None:
    finalized: list[Any] = []
    stand_in("train", lambda cfg: 1 / (cfg.seed - 1), finalize=lambda cfg, path: finalized.append((path, cfg.claims)))
    assert ebm("train", "-m", "seed=1,2", "hydra.sweep.dir=sweep").code == 1
    assert finalized == [(tmp_path / "sweep", None)]


def test_failed_job_does_not_stop_the_next_batch(ebm: Ebm, stand_in: StandIn) -> None:
    def task(cfg: Any) -> None:
        if cfg.seed == 1:
            raise ZeroDivisionError

    seen = stand_in("train", task)
    ran = ebm("train", "-m", "seed=1,2,3", "hydra.sweeper.max_batch_size=1")
    assert ran.code == 1
    assert [cfg.seed for cfg in seen] == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [["jobs=2"], ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]],
    ids=["jobs", "joblib"],
)
def test_failures_in_other_processes_are_listed(ebm: Ebm, tmp_path: Path, launcher: list[str]) -> None:
    """Workers write files for the sweep's end, which removes them; those of an earlier sweep are not read."""
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    (sweep / ".failed-7.json").write_text('{"exit_code": 1, "line": "job 7 (of yesterday)"}')
    words = ["method=cd", "sampler=langevin", "sampler.step_size=0.01,1e3", "steps=30"]
    ran = ebm("train", *FAST, "-m", "seed=1,2", *words, "hydra.sweep.dir=sweep", *launcher)
    assert ran.code == 3
    assert states(sweep) == ["finished", "diverged", "finished", "diverged"]
    listed = ran.err.partition("2 jobs failed;")[2].splitlines()[1:]
    assert [line.partition(" (")[0] for line in listed] == ["ebm: job 1", "ebm: job 3"]
    assert all("the energies have exploded" in line for line in listed)
    assert not list(sweep.glob(".failed-*"))

    # The bits are those of the same sweep in one process.
    assert ebm("train", *FAST, "-m", "seed=1,2", *words, "hydra.sweep.dir=serial").code == 3
    for job in "02":
        assert differences(trained(sweep / job), trained(tmp_path / "serial" / job)) == []


def test_failures_are_read_once_and_in_order_of_the_jobs(tmp_path: Path) -> None:
    """The order is that of the numbers, not of the letters."""
    cfg = OmegaConf.create({})
    for number in (11, 2, 100):
        assert write_failure(JobFailed(3, cfg, tmp_path, f"job {number}"), number)
    assert [(job.exit_code, job.line) for job in read_failures(cfg, tmp_path)] == [
        (3, "job 2"), (3, "job 11"), (3, "job 100"),
    ]  # fmt: skip
    assert read_failures(cfg, tmp_path) == []


def test_failures_are_cleared_before_a_sweep(tmp_path: Path) -> None:
    cfg = OmegaConf.create({})
    assert write_failure(JobFailed(3, cfg, tmp_path, "job 1"), 1)
    clear_failures(tmp_path)
    assert read_failures(cfg, tmp_path) == []


def test_write_failure_returns_false_without_a_directory(tmp_path: Path) -> None:
    assert not write_failure(JobFailed(3, OmegaConf.create({}), tmp_path / "not there"), 1)


def test_tasks_and_failures_can_be_pickled() -> None:
    """A launcher sends the task to another process, which may send a failure back."""
    assert pickle.loads(pickle.dumps(Task("train", show_traceback=True))) == Task("train", show_traceback=True)
    failed = pickle.loads(pickle.dumps(JobFailed(3, OmegaConf.create({"seed": 1}), Path("sweep"), "why")))
    assert (failed.exit_code, failed.cfg, failed.sweep_dir, failed.line) == (3, {"seed": 1}, Path("sweep"), "why")


@pytest.fixture
def _restored_hydra_config() -> Iterator[None]:
    before = HydraConfig.instance().cfg
    yield
    HydraConfig.instance().cfg = before


@pytest.mark.usefixtures("_restored_hydra_config")
@pytest.mark.parametrize(
    ("launcher", "sweeper", "is_kept"),
    [("Basic", "Basic", True), ("Joblib", "Basic", False), ("Basic", "Optuna", False)],
)
def test_task_raises_failures_that_it_cannot_keep(
    stand_in: StandIn, launcher: str, sweeper: str, is_kept: bool, tmp_path: Path
) -> None:
    """A failure whose file cannot be written, or that another sweeper judges, is raised to Hydra."""
    stand_in("train", lambda cfg: 1 / 0)
    node = {
        "launcher": {"_target_": f"a.{launcher}Launcher"},
        "sweeper": {"_target_": f"a.{sweeper}Sweeper"},
        "job": {"num": 1},
        "mode": RunMode.MULTIRUN,
        "overrides": {"task": ["seed=1"]},
        "runtime": {"cwd": str(tmp_path), "output_dir": str(tmp_path)},
        "sweep": {"dir": "not there"},
    }
    HydraConfig.instance().cfg = OmegaConf.create({"hydra": node})
    task = Task("train")
    if is_kept:
        assert task(OmegaConf.create({})) is None
        assert [(failed.exit_code, failed.sweep_dir) for failed in task.failures] == [(1, tmp_path / "not there")]
    else:
        with pytest.raises(JobFailed, match="ZeroDivisionError"):
            task(OmegaConf.create({}))
        assert task.failures == []


def test_job_that_is_not_to_be_trusted_is_a_finished_job(ebm: Ebm, stand_in: StandIn) -> None:
    """The sweep continues, the sweeper gets the value, and the exit code says 4."""

    def task(cfg: Any) -> float:
        if cfg.seed == 2:
            raise NotTrustworthy("3 chains never moved", 0.5)
        return float(cfg.seed)

    returned.clear()
    seen = stand_in("train", task)
    ran = ebm("train", "-m", "seed=1,2,3", f"+hydra.callbacks.returned._target_={__name__}.Returned")
    assert [cfg.seed for cfg in seen] == [1, 2, 3]
    assert returned == [1.0, 0.5, 3.0]
    assert ran.code == 4
    line = "ebm: job 1 (seed=2): 3 chains never moved"
    assert ran.err.splitlines()[-3:] == [line, "ebm: 1 job finished, and is not to be trusted", line]


def test_failed_job_outweighs_one_that_is_not_to_be_trusted(ebm: Ebm, stand_in: StandIn) -> None:
    def task(cfg: Any) -> None:
        raise NotTrustworthy("nothing moved") if cfg.seed == 1 else Diverges("diverged")

    stand_in("train", task)
    ran = ebm("train", "-m", "seed=1,2")
    assert ran.code == 3
    assert "1 job failed; rerun" in ran.err
    assert "1 job finished, and is not to be trusted" in ran.err


def test_untrusted_results_can_be_pickled_with_their_value() -> None:
    error = pickle.loads(pickle.dumps(NotTrustworthy("why", 0.5)))
    assert (str(error), error.value, error.exit_code) == ("why", 0.5, 4)


@pytest.mark.slow
def test_jobs_in_other_processes_read_relative_files(ebm: Ebm, tmp_path: Path) -> None:
    """Hydra's older default would make the directory of the job the current one."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("u,v\n" + "".join(f"{i % 7}.5,{i % 11}.25\n" for i in range(60)))
    words = [*TINY, "dataset=file", "metrics=[score]", "dataset.path=a.csv,b.csv", "jobs=2", "hydra.sweep.dir=sweep"]
    assert ebm("train", "-m", *words).code == 0
    assert states(tmp_path / "sweep") == ["finished", "finished"]
