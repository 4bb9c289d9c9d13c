"""Runs that commit 1b2473a stored: they load, resume, sample and evaluate as the code of that commit did it."""

import json
import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import ebm_cli
from ebm_cli.runs import record
from ebm_cli.runs.added_keys import fill
from ebm_cli.runs.status import read_status
from tests.support import REPO, Ebm, composed, last, no_pictures

DATA = REPO / "tests" / "data" / "runs-1b2473a"
MAKE = runpy.run_path(str(DATA / "make.py"))
"""The commands that made the runs, and the digest of the machine."""
WORDS = {"unfinished": MAKE["UNFINISHED"], "finished": MAKE["FINISHED"]}
EXPECTED: dict[str, Any] = torch.load(DATA / "expected.pt", weights_only=True)
"""Results of the old code on the same runs."""


@pytest.fixture(autouse=True)
def _runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in WORDS:
        shutil.copytree(DATA / name, tmp_path / name)
    no_pictures(monkeypatch)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every tensor, number and text of a nested state, by its path; functions in it (of schedules) are left out."""
    if isinstance(value, dict | list | tuple):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, f"{path}/{key}")
    elif not callable(value):
        yield path, value


def assert_same(found: Any, expected: Any) -> None:
    """Bit for bit on a machine like the one that made the data; elsewhere up to rounding."""
    one, two = dict(leaves(found)), dict(leaves(expected))
    assert one.keys() == two.keys()
    is_exact = MAKE["machine"]() == EXPECTED["machine"]
    for path, value in one.items():
        if isinstance(value, torch.Tensor):
            tolerance = {"rtol": 0.0, "atol": 0.0} if is_exact else {"rtol": 1e-3, "atol": 1e-4}
            torch.testing.assert_close(value, two[path], msg=path, **tolerance)
        elif is_exact or not isinstance(value, float):
            assert value == two[path], path
        else:
            assert value == pytest.approx(two[path], rel=1e-3, abs=1e-4), path


def state_of(run: Path) -> dict[str, Any]:
    """The state of the training in the last checkpoint, without the words for the data that the old code had not."""
    state = {key: value for key, value in last(run).items() if key not in ("config", "seconds", "versions", "format")}
    words = ("column_names", "description")
    return state | {"dataset": {key: value for key, value in state["dataset"].items() if key not in words}}


ADDED_RESULTS = {"eval/overall", "eval/nll_vs_gaussian"}
"""Results that the old code did not compute for a known density."""


def results_of(run: Path) -> dict[str, Any]:
    found = json.loads((run / "results.json").read_text())
    assert "eval/overall" in found
    old = {key: value for key, value in found.items() if key not in ADDED_RESULTS}
    return {key: value for key, value in old.items() if not key.startswith("cost/") and "second" not in key}


@pytest.mark.parametrize("words", [[*WORDS["unfinished"], "hydra.run.dir=unfinished"], ["checkpoint=unfinished"]])
def test_unfinished_run_is_resumed(ebm: Ebm, tmp_path: Path, words: list[str]) -> None:
    ran = ebm("train", *words)
    assert (ran.code, ran.err) == (0, "")
    assert_same(state_of(tmp_path / "unfinished"), EXPECTED["unfinished"]["state"])
    assert_same(results_of(tmp_path / "unfinished"), EXPECTED["unfinished"]["results"])


def test_finished_run_is_trained_further(ebm: Ebm, tmp_path: Path) -> None:
    ran = ebm("train", "checkpoint=finished", "steps=9")
    assert (ran.code, ran.err) == (0, "")
    assert_same(state_of(tmp_path / "finished"), EXPECTED["finished"]["state"])
    assert_same(results_of(tmp_path / "finished"), EXPECTED["finished"]["results"])


def test_finished_run_is_recognised_by_its_config(ebm: Ebm, tmp_path: Path) -> None:
    ran = ebm("train", *WORDS["finished"], "hydra.run.dir=finished")
    assert (ran.code, ran.err) == (0, f"ebm: {tmp_path}/finished: finished at step 6, nothing to do\n")
    ran = ebm("train", *WORDS["finished"], "batch_size=17", "hydra.run.dir=finished")
    assert (ran.code, "holds a run of another config" in ran.err) == (1, True)


@pytest.mark.parametrize("name", WORDS)
def test_old_run_is_evaluated(ebm: Ebm, tmp_path: Path, name: str) -> None:
    ran = ebm("evaluate", f"checkpoint={name}", *MAKE["EVALUATE"], "hydra.run.dir=evaluated")
    assert (ran.code, ran.err) == (0, "")
    assert_same(results_of(tmp_path / "evaluated"), EXPECTED[name]["evaluated"])


@pytest.mark.parametrize("name", WORDS)
def test_old_run_is_sampled(ebm: Ebm, tmp_path: Path, name: str) -> None:
    """With `init=noise`, which was the default of that time."""
    ran = ebm("sample", f"checkpoint={name}", *MAKE["SAMPLE"], "init=noise", "hydra.run.dir=sampled")
    assert (ran.code, ran.err) == (0, "")
    assert_same(torch.from_numpy(np.load(tmp_path / "sampled" / "samples.npz")["x"]), EXPECTED[name]["sampled"])


@pytest.mark.parametrize("name", WORDS)
def test_old_run_is_loaded(tmp_path: Path, name: str) -> None:
    model, state = ebm_cli.load(tmp_path / name), last(tmp_path / name)
    status = read_status(tmp_path / name)
    assert status is not None
    assert model.step == state["step"] == status["step"]
    for parameter, value in model.network.named_parameters():
        assert torch.equal(value, state["ema"]["mean"][f"energy.{parameter}"])
    found = record.read(tmp_path / name)
    assert (found.problem, found.options["dataset"]) == ("", "moons")


@pytest.mark.parametrize("name", WORDS)
def test_every_key_added_since_has_an_old_value(name: str) -> None:
    """A key that `conf/` has and these runs lack belongs into `ADDED_KEYS`, with the value that they trained with."""
    words = [word for word in WORDS[name] if not word.startswith("eval")]
    now = OmegaConf.to_container(composed(*words), resolve=True)
    then = fill(OmegaConf.to_container(OmegaConf.load(DATA / name / "config.yaml")))  # type: ignore[arg-type]
    assert {path for path, _ in leaves(now)} - {path for path, _ in leaves(then)} == set()
