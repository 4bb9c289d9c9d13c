"""A verb as Hydra's task: what an interrupted job leaves to the process that runs it."""

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.types import RunMode
from omegaconf import OmegaConf

from ebm_cli.cli import task as tasks
from ebm_cli.cli.task import Task
from ebm_cli.runs.signals import Interrupted
from tests.support import StandIn

QUEUE = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch, stand_in: StandIn, tmp_path: Path) -> Any:
    """Runs a job of a sweep that SIGTERM ends, in a process of a launcher; gives its task and what ended the call."""

    def run(launcher: str) -> tuple[Task, BaseException]:
        def end(cfg: Any) -> None:
            raise Interrupted(signal.SIGTERM, " at step 3; a checkpoint was written")

        stand_in("train", end)
        places = {"overrides": {"task": ["seed=1"]}, "runtime": {"output_dir": str(tmp_path), "cwd": str(tmp_path)}}
        hydra = OmegaConf.create({**places, "sweep": {"dir": "s"}, "launcher": {"_target_": launcher}})
        hydra.mode = RunMode.MULTIRUN
        monkeypatch.setattr(tasks, "HydraConfig", SimpleNamespace(get=lambda: hydra))
        monkeypatch.setattr(tasks, "effective_config", lambda cfg, *others: cfg)
        task = Task("train")
        with pytest.raises(BaseException) as ended:
            task(OmegaConf.create())
        return task, ended.value

    return run


def test_cancelled_job_of_a_queue_exits_in_one_line(interrupted: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A `KeyboardInterrupt` would leave a traceback in the output of a process of submitit."""
    _, ended = interrupted(QUEUE)
    assert isinstance(ended, SystemExit)
    assert ended.code == 128 + signal.SIGTERM
    assert capsys.readouterr().err == "ebm: interrupted by SIGTERM at step 3; a checkpoint was written\n"


def test_interrupted_job_of_this_machine_ends_its_sweep(interrupted: Any, tmp_path: Path) -> None:
    task, ended = interrupted("hydra._internal.core_plugins.basic_launcher.BasicLauncher")
    assert isinstance(ended, Interrupted)
    assert task.interrupted == [tmp_path / "s"]
