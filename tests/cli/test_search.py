"""A search that is refused before its first trial: one line, and no directory."""

from pathlib import Path

import pytest

pytest.importorskip("optuna")

from tests.support import TINY, Ebm


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["energy.width=interval(32,256)"],
            "energy.width must be a whole number: 'energy.width=int(interval(32,256))'",
        ),
        (["optimizer.lr=interval(1,2)", "monitor=eval/fischer"], "monitor=eval/fischer: no such result; did you mean "),
        (
            ["optimizer.lr=interval(1,2)", "hydra.sweeper.n_trial=3"],
            "hydra.sweeper.n_trial: no such key of the chosen ",
        ),
    ],
    ids=["width", "monitor", "key"],
)
def test_a_wrong_search_is_one_line(ebm: Ebm, tmp_path: Path, words: list[str], line: str) -> None:
    ran = ebm("train", "-m", "hydra/sweeper=optuna", *TINY, *words, "hydra.sweep.dir=sweep")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"ebm: {line}")
    assert ran.err.count("\n") == 1
    assert not (tmp_path / "sweep" / "study.db").exists()
