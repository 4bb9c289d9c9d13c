"""The file that a run was trained on: refused if it has changed, recognised if it was moved."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ebm_cli
from ebm_cli.errors import UserError
from ebm_cli.runs import checkpoint as checkpoints
from tests.support import TINY, Ebm, differences, last, no_pictures, normal, status_of, trained

TABLE = normal(60, 2).numpy()
WORDS = [
    "train",
    *TINY,
    "method=dsm",
    "metrics=[score]",
    "dataset=file",
    "dataset.path=my.csv",
    "steps=3",
    "schedule=constant",
]
WORDS += ["hydra.run.dir=run"]
EVALUATE = ["evaluate", "checkpoint=run", "metrics=[score]", "eval.n_samples=10", "eval.n_chains=10"]
SAMPLE = ["sample", "checkpoint=run", "n_samples=20", "n_chains=10", "burn_in=2", "thin=2"]


def write(path: Path, table: np.ndarray[Any, Any] = TABLE, names: str = "a,b") -> None:
    np.savetxt(path, table, delimiter=",", header=names, comments="", fmt="%.9g")


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)


@pytest.fixture
def run(ebm: Ebm, tmp_path: Path) -> Path:
    """A run on my.csv, whose path was typed relative to the current folder."""
    write(tmp_path / "my.csv")
    ran = ebm(*WORDS)
    assert (ran.code, ran.err) == (0, "")
    return tmp_path / "run"


def test_stored_path_is_absolute(run: Path, ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is evaluated, sampled and continued from any folder; the command of the first run still finds it."""
    path = str(tmp_path / "my.csv")
    assert last(run)["config"]["dataset"]["path"] == path
    assert f"path: {path}" in (run / "config.yaml").read_text()
    ran = ebm(*WORDS)
    assert ran.code == 0
    assert ran.err.startswith(f"ebm: {run}: finished at step 3, nothing to do. ")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert ebm(*EVALUATE, "checkpoint=../run").code == 0
    assert ebm("train", "checkpoint=../run", "steps=4").code == 0


@pytest.mark.slow
def test_run_with_a_relative_stored_path_continues(run: Path, ebm: Ebm, tmp_path: Path) -> None:
    """As earlier versions stored it, with the hash of that config in status.json, and without a fingerprint."""
    for name in ("last.pt", "best.pt"):
        file = run / "checkpoints" / name
        state = torch.load(file, weights_only=True)
        state["config"]["dataset"]["path"] = "my.csv"
        del state["dataset"]["fingerprint"]
        state.pop("format")
        checkpoints.save(file, state)
    text = (run / "config.yaml").read_text().replace(str(tmp_path / "my.csv"), "my.csv")
    (run / "config.yaml").write_text(text)
    status = status_of(run) | {"config_hash": "that of the relative path", "state": "interrupted"}
    (run / "status.json").write_text(json.dumps(status))
    write(tmp_path / "my.csv", TABLE + 1)
    assert ebm(*WORDS).code == 0
    assert ebm(*EVALUATE).code == 0


@pytest.mark.parametrize(
    ("table", "names", "what"),
    [
        (TABLE[:59], "a,c", "column b renamed c; rows 60 → 59"),
        pytest.param(TABLE[:, :1], "a", "columns 2 → 1", marks=pytest.mark.slow),
    ],
)
def test_changed_file_is_refused(
    run: Path, ebm: Ebm, tmp_path: Path, table: np.ndarray[Any, Any], names: str, what: str
) -> None:
    """By evaluate, by train in both of its forms, and by a notebook; status and checkpoint stay as they are."""
    write(tmp_path / "my.csv", table, names)
    before, status = last(run), status_of(run)
    (run / "status.json").write_text(json.dumps(status | {"state": "interrupted"}))
    for words in (EVALUATE, ["train", "checkpoint=run", "steps=9"], WORDS):
        ran = ebm(*words)
        assert ran.code == 1
        assert " not the file that the run was trained on: " in ran.err
        assert what in ran.err
        assert len(ran.err.splitlines()) == 1
    with pytest.raises(UserError, match="not the file that the run was trained on"):
        _ = ebm_cli.load(run).dataset
    assert differences(last(run), before) == []
    assert status_of(run) == status | {"state": "interrupted"}
    assert ebm(*SAMPLE).code == 0


@pytest.mark.slow
def test_moved_file_is_given_anew(run: Path, ebm: Ebm, tmp_path: Path) -> None:
    """It is the same data, so that a continued run is bit for bit the one that would have been."""
    assert ebm(*WORDS[:-1], "hydra.run.dir=whole", "steps=5").code == 0
    (tmp_path / "my.csv").rename(tmp_path / "moved=here.csv")
    for words in (EVALUATE, ["train", "checkpoint=run", "steps=5"]):
        ran = ebm(*words)
        assert ran.code == 1
        assert ran.err == (
            f"ebm: dataset.path={tmp_path / 'my.csv'}: the run was trained on this file, which is not there; if it "
            "was moved, type its new place: dataset.path=FILE\n"
        )
    assert ebm(*SAMPLE).code == 0
    for words in (EVALUATE, SAMPLE, ["train", "checkpoint=run", "steps=5"]):
        ran = ebm(*words, "dataset.path='moved=here.csv'")
        assert (ran.code, ran.err) == (0, "")
    assert last(run)["config"]["dataset"]["path"] == str(tmp_path / "moved=here.csv")
    assert differences(trained(run), trained(tmp_path / "whole")) == [".dataset.description"]
    assert ebm(*EVALUATE).code == 0


def test_another_file_is_refused_as_a_moved_one(run: Path, ebm: Ebm, tmp_path: Path) -> None:
    write(tmp_path / "other.csv", TABLE[::-1])
    for words in (EVALUATE, SAMPLE, ["train", "checkpoint=run", "steps=5"]):
        ran = ebm(*words, "dataset.path=other.csv")
        assert ran.code == 1
        assert ran.err.startswith(
            "ebm: dataset.path=other.csv: not the file that the run was trained on: values differ"
        )


def test_place_of_a_file_is_refused_where_the_run_has_none(ebm: Ebm) -> None:
    assert ebm("train", *TINY, "steps=1", "metrics=[score]", "hydra.run.dir=run").code == 0
    for words in (EVALUATE, SAMPLE, ["train", "checkpoint=run", "steps=2"]):
        ran = ebm(*words, "dataset.path=my.csv")
        assert ran.code == 1
        assert "this model was not trained on a file, its data set is Synthetic" in ran.err
