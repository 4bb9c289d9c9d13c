"""Exit code 4: a command finished, and its results are not to be trusted."""

import json
from pathlib import Path

import pytest

from tests.support import TINY, Ebm, no_pictures, state_of

UNTRAINED = [
    *TINY,
    "dataset=eight_gaussians",
    "method=cd",
    "method.k=2",
    "optimizer.lr=1.0",
    "steps=40",
    "log_every=10",
    "eval_every=null",
]
"""A learning rate a thousand times too large: no model of the data."""


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)


def test_broken_run_says_so_and_fails_if_strict(ebm: Ebm, tmp_path: Path) -> None:
    ran = ebm("train", *UNTRAINED, "hydra.run.dir=run")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (ran.code, ran.err, results["eval/overall"]) == (0, "", "broken")
    assert "Broken: " in ran.out
    ran = ebm("evaluate", "checkpoint=run", "metrics=[density]", "strict=true", "hydra.run.dir=measured")
    assert (ran.code, ran.err) == (4, "ebm: eval/overall is broken, and strict=true\n")
    assert json.loads((tmp_path / "measured" / "results.json").read_text())["eval/overall"] == "broken"
    assert "Broken: " in ran.out
    assert "broken" in ebm("runs", "root=run").out


@pytest.mark.slow
def test_strict_training_fails_when_all_is_written(ebm: Ebm, tmp_path: Path) -> None:
    ran = ebm("train", *UNTRAINED, "strict=true", "hydra.run.dir=run")
    assert (ran.code, ran.err) == (4, "ebm: eval/overall is broken, and strict=true\n")
    assert state_of(tmp_path / "run") == ("finished", 40, 40)
    assert "Broken: " in ran.out
    # strict is no part of the run: the same command without it finds it finished.
    again = ebm("train", *UNTRAINED, "hydra.run.dir=run")
    assert again.code == 0
    assert "finished at step 40, nothing to do. Broken: " in again.err
    assert ebm("train", *UNTRAINED, "strict=true", "hydra.run.dir=run").code == 4
