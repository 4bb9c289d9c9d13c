"""Sweeps: one job's failure is its own, the same command goes on where the sweep stopped, no two share a directory."""

import json
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra.core.utils
import pytest
from hydra._internal.core_plugins import basic_launcher
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from ebm_cli.cli.callbacks import Validate
from ebm_cli.cli.output_dirs import make_alone
from ebm_cli.cli.sweep_failures import JobFailed, note, noted
from ebm_cli.errors import UserError
from ebm_cli.runs.directory import RunDirectory, read_status
from ebm_cli.training.session import Session
from tests.support import FAST, Ebm, StandIn, no_pictures


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)


def states(sweep: Path) -> list[str]:
    found = [read_status(job) for job in sorted(sweep.iterdir()) if job.is_dir()]
    return [status["state"] if status else "none" for status in found]


SWEEP = [*FAST, "-m", "seed=1,2,3", "steps=4", "checkpoint_every=2", "hydra.sweep.dir=sweep"]


def test_what_failed_is_listed_at_the_end_and_tried_again(
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

    # Tried again from their checkpoints, one of them in vain; the third job is not taken down.
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
        f"ebm: jobs that failed: 1; the same command with hydra.sweep.dir={sweep} tries them again, "
        "and leaves those alone that finished"
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


def test_a_finished_job_returns_its_stored_result(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the sweeper: what is in results.json, though it was not measured again."""
    returned: list[Any] = []
    run_job = basic_launcher.run_job

    def noted(*args: Any, **kwargs: Any) -> Any:
        job = run_job(*args, **kwargs)
        returned.append(job.return_value)
        return job

    monkeypatch.setattr(basic_launcher, "run_job", noted)
    for _ in range(2):
        assert (
            ebm("train", *FAST, "-m", "seed=1,2", "steps=2", "hydra.sweep.dir=sweep", "monitor=eval/fisher").code == 0
        )
    stored = [json.loads((tmp_path / "sweep" / job / "results.json").read_text())["val/fisher"] for job in "01"]
    assert returned == stored * 2


def test_a_failed_job_does_not_stop_the_next_batch(ebm: Ebm, stand_in: StandIn) -> None:
    def task(cfg: Any) -> None:
        if cfg.seed == 1:
            raise ZeroDivisionError

    seen = stand_in("train", task)
    ran = ebm("train", "-m", "seed=1,2,3", "hydra.sweeper.max_batch_size=1")
    assert ran.code == 1
    assert [cfg.seed for cfg in seen] == [1, 2, 3]


def test_what_failed_in_other_processes_is_listed_too(ebm: Ebm, tmp_path: Path) -> None:
    """joblib's workers leave notes for the sweep's end, which are gone then; those of an earlier sweep are not read."""
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    (sweep / ".failed-7.json").write_text('{"exit_code": 1, "line": "job 7 (of yesterday)"}')
    words = ["method=cd", "sampler=langevin", "sampler.step_size=0.01,1e3", "steps=30", "hydra.sweep.dir=sweep"]
    ran = ebm("train", *FAST, "-m", "seed=1,2", *words, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert ran.code == 3
    assert states(sweep) == ["finished", "diverged", "finished", "diverged"]
    listed = ran.err.partition("jobs that failed: 2;")[2].splitlines()[1:]
    assert [line.partition(" (")[0] for line in listed] == ["ebm: job 1", "ebm: job 3"]
    assert all("the energies have exploded" in line for line in listed)
    assert not list(sweep.glob(".failed-*"))


def test_notes_are_read_once_and_in_the_order_of_the_jobs(tmp_path: Path) -> None:
    failed = JobFailed(3, OmegaConf.create({}), tmp_path, "job 11: why")
    for number in (11, 2):
        assert note(failed, number)
    found = noted(failed.cfg, tmp_path)
    assert [(job.exit_code, job.line) for job in found] == [(3, "job 11: why")] * 2
    assert not noted(failed.cfg, tmp_path)
    assert not note(JobFailed(3, failed.cfg, tmp_path / "not there"), 1)
    # The order is that of the jobs, not of the letters.
    for number in (11, 2, 100):
        note(JobFailed(1, failed.cfg, tmp_path, f"{number}"), number)
    assert [job.line for job in noted(failed.cfg, tmp_path)] == ["2", "11", "100"]


@pytest.mark.parametrize(
    ("launcher", "sweeper", "kept"), [("Joblib", "Basic", False), ("Basic", "Basic", True), ("Basic", "Optuna", False)]
)
def test_what_cannot_be_kept_is_left_to_hydra(launcher: str, sweeper: str, kept: bool, tmp_path: Path) -> None:
    """A failure that no note could be left of, or that another sweeper judges, stays a failure for Hydra."""
    hydra = {
        "launcher": {"_target_": f"a.{launcher}Launcher"},
        "sweeper": {"_target_": f"a.{sweeper}Sweeper"},
        "job": {"num": 1},
    }
    config = OmegaConf.create({"hydra": hydra})
    job = JobReturn(status=JobStatus.FAILED)
    job.return_value = JobFailed(3, config, tmp_path / "not there", "why")
    Validate("train").on_job_end(config, job)
    assert (job.status is JobStatus.COMPLETED) is kept


# --- no two in one directory ------------------------------------------------------------------------------------------


@pytest.fixture
def _stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the test happens in one microsecond, for Hydra."""
    moment = datetime(2026, 1, 2, 3, 4, 5, 678)

    class Stopped(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return moment

    monkeypatch.setattr(hydra.core.utils, "datetime", Stopped)


@pytest.mark.usefixtures("_stopped_clock")
@pytest.mark.parametrize("words", [(), ("-m", "seed=1,2")], ids=["runs", "sweeps"])
def test_commands_of_the_same_microsecond_have_directories_of_their_own(
    ebm: Ebm, stand_in: StandIn, tmp_path: Path, words: tuple[str, ...]
) -> None:
    found: list[str] = []
    stand_in("train", lambda cfg: found.append(HydraConfig.get().runtime.output_dir))
    for _ in range(2):
        assert ebm("train", *words).code == 0
    assert len(set(found)) == len(found) == (2 if not words else 4)
    first = Path(found[0]) if not words else Path(found[0]).parent
    assert first.name == "03-04-05-000678"
    assert all(Path(path).is_dir() and tmp_path in Path(path).parents for path in found)
    assert first.with_name(f"{first.name}-2") in {Path(path) if not words else Path(path).parent for path in found}


def test_twenty_at_once_have_directories_of_their_own(tmp_path: Path) -> None:
    """The making itself, in twenty threads that are let go together."""
    barrier, found = threading.Barrier(20), []

    def make() -> None:
        config = OmegaConf.create({"hydra": {"run": {"dir": f"{tmp_path}/${{now:%H}}"}, "overrides": {"hydra": []}}})
        barrier.wait()
        make_alone(config, "hydra.run.dir")
        found.append((config.hydra.run.dir, list(config.hydra.overrides.hydra)))

    OmegaConf.register_new_resolver("now", lambda _: "now", replace=True)
    threads = [threading.Thread(target=make) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = {Path(path).name for path, _ in found}
    assert names == {"now", *(f"now-{number}" for number in range(2, 21))}
    assert all(told == ([] if path.endswith("/now") else [f"hydra.run.dir={path}"]) for path, told in found)


@pytest.mark.usefixtures("_stopped_clock")
def test_a_directory_that_was_named_is_taken_as_it_is(ebm: Ebm, stand_in: StandIn, tmp_path: Path) -> None:
    found: list[str] = []
    stand_in("train", lambda cfg: found.append(HydraConfig.get().runtime.output_dir))
    for _ in range(2):
        assert ebm("train", "hydra.run.dir=mine").code == 0
        assert ebm("train", "-m", "seed=1", "hydra.sweep.dir=ours").code == 0
    assert [Path(path) for path in found] == [tmp_path / "mine", tmp_path / "ours" / "0"] * 2


def test_of_two_that_name_one_directory_the_second_writes_nothing(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also at the first one's very start, when it has written nothing yet: Hydra's files would be overwritten."""
    words = [*FAST, "steps=2", "hydra.run.dir=run"]
    (tmp_path / "run").mkdir()
    with RunDirectory(tmp_path / "run"):
        ran = ebm("train", *words, "seed=1")
    assert (ran.code, ran.err) == (1, f"ebm: {tmp_path / 'run'}: another process is running in it\n")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]

    # And it is held from before Hydra writes to it.
    held: list[str] = []
    save = hydra.core.utils._save_config

    def save_and_try(cfg: Any, filename: str, output_dir: Path) -> None:
        with pytest.raises(UserError, match="another process is running in it"):
            RunDirectory(tmp_path / "run")
        held.append(filename)
        save(cfg, filename, output_dir)

    monkeypatch.setattr(hydra.core.utils, "_save_config", save_and_try)
    assert ebm("train", *words).code == 0
    assert held == ["config.yaml", "hydra.yaml", "overrides.yaml"]
    RunDirectory(tmp_path / "run").close()
