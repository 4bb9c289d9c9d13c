"""Reservation of a run directory: which commands may use one that holds a run."""

import os
import shutil
from pathlib import Path

import pytest

from ebm_cli.cli.main import main
from ebm_cli.runs.directory import RunDirectory
from ebm_cli.runs.reserve import config_hash
from tests.support import TINY, Ebm, composed, no_pictures, status_of

RUN = [*TINY, "dataset=gaussian", "dataset.density.dim=1", "steps=4", "hydra.run.dir=run"]


@pytest.fixture(scope="module")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, to copy."""
    folder = tmp_path_factory.mktemp("once")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        no_pictures(patched)
        assert main(["train", *RUN]) == 0
    return folder / "run"


@pytest.fixture
def finished(finished_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_once, tmp_path / "run"))


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_finished_run_is_not_touched(ebm: Ebm, finished: Path) -> None:
    before = contents(finished)
    ran = ebm("train", *RUN)
    assert ran.code == 0
    assert ran.err.startswith(f"ebm: {finished}: finished at step 4, nothing to do. ")
    ran = ebm("train", "checkpoint=run")
    assert ran.code == 0
    start = f"ebm: {finished}: finished at step 4, nothing to do; to train it further, set steps > 4. "
    assert ran.err.startswith(start)
    assert contents(finished) == before


def test_steps_of_a_second_phase_are_not_counted(ebm: Ebm, tmp_path: Path) -> None:
    words = [*TINY, "method=sm", "polish=nce", "polish.steps=3", "metrics=[score]", *RUN[len(TINY) :]]
    assert ebm("train", *words).code == 0
    ran = ebm("train", "checkpoint=run")
    assert ran.code == 0
    further = "set steps > 4 (the further steps come on top of the second phase). "
    assert f"finished at step 7, nothing to do; to train it further, {further}" in ran.err
    assert ebm("train", "checkpoint=run", "steps=5").code == 0
    assert status_of(tmp_path / "run")["step"] == 8
    assert "set steps > 5 (the further" in ebm("train", "checkpoint=run").err


STEPS = "measurement={_target_: tests.lecture.measurements.Steps, n_steps: 1}"
NUMBER = "measurement={_target_: tests.lecture.measurements.Number, number: 0.5}"


def test_keys_without_an_influence_on_numbers_do_not_count(ebm: Ebm, finished: Path) -> None:
    before = contents(finished)
    assert "finished at step 4, nothing to do. " in ebm("train", *RUN, "keep=3", "checkpoint_every=2", STEPS).err
    after = contents(finished)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"numbers.json", "claims.json", "figures/measurement.png"}


@pytest.mark.parametrize("word", ["log_every=2", NUMBER])
def test_keys_with_an_influence_on_numbers_count(ebm: Ebm, finished: Path, word: str) -> None:
    """The control: the log is part of the numbers, and the last one trains nothing."""
    assert "holds a run of another config" in ebm("train", *RUN, word).err


def test_checkpoints_count_where_a_run_returns_to_them() -> None:
    often, seldom = (composed("checkpoint_every=1", "keep=9"), composed("checkpoint_every=5"))
    assert config_hash(often) == config_hash(seldom)
    for cfg in (often, seldom):
        cfg.guard = "rollback"
    assert config_hash(often) != config_hash(seldom)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([*RUN, "seed=7"], "holds a run of another config; resume that one with checkpoint="),
        ([*RUN, "seed=7"], ", or name another directory (that run has seed=0)\n"),
        ([*RUN, "resume=never"], "already holds a run; resume it with resume=auto"),
        (["checkpoint=run", "batch_size=32"], "batch_size: cannot change when a run is continued; only "),
        (["checkpoint=run", "steps=9", "hydra.run.dir=other"], "a run is resumed in its own directory, not in "),
        (["checkpoint=run", "steps=9,10", "-m"], "a run is resumed in its own directory, not in "),
    ],
)
def test_command_that_would_change_a_run_is_refused(
    ebm: Ebm, finished: Path, words: list[str], line: str, tmp_path: Path
) -> None:
    before = contents(tmp_path)
    ran = ebm("train", *words)
    assert ran.code == 1
    assert line in ran.err
    assert len(ran.err.splitlines()) == 1
    assert contents(tmp_path) == before


def test_directory_of_another_process_is_refused(ebm: Ebm, finished: Path) -> None:
    with RunDirectory(finished) as directory:
        directory.begin(4, status_of(finished)["config_hash"])
        before = contents(finished)
        for words in (RUN, ["checkpoint=run", "steps=9"]):
            ran = ebm("train", *words)
            assert ran.code == 1
            assert f"another process is running in it (pid {os.getpid()} on " in ran.err
        assert contents(finished) == before


def test_damaged_checkpoint_changes_nothing(ebm: Ebm, finished: Path) -> None:
    file = finished / "checkpoints" / "last.pt"
    file.write_bytes(file.read_bytes()[:-100])
    before = contents(finished)
    ran = ebm("train", "checkpoint=run", "steps=9")
    assert ran.code == 1
    assert "not a checkpoint, or a truncated one" in ran.err
    after = contents(finished)
    assert {name for name in before if before[name] != after[name]} <= {"train.log"}
