"""Pictures that cannot be drawn or written: every verb finishes, with its results and a sentence."""

import errno
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ebm_cli.runs.signals import Interrupted
from tests.comparison.support import Elements
from tests.support import TINY, Ebm, status_of

WORDS = ["train", *TINY, "steps=2", "metrics=[samples]", "hydra.run.dir=run"]


@pytest.mark.slow
def test_every_verb_finishes_without_matplotlib(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    run, sentence = tmp_path / "run", "matplotlib cannot be imported"

    def assert_finished(folder: Path, *words: str) -> None:
        ran = ebm(*words)
        assert (ran.code, ran.err) == (0, "")
        assert " ".join(ran.out.replace("│", " ").split()).count(sentence) == (2 if words[0] == "train" else 1)
        assert json.loads((folder / "results.json").read_text())
        assert not list(folder.rglob("*.png"))

    assert_finished(run, *WORDS)
    assert status_of(run)["state"] == "finished"
    assert_finished(tmp_path / "e", "evaluate", "checkpoint=run", *TINY[3:7], "hydra.run.dir=e", "metrics=[samples]")
    chains = ["n_samples=20", "n_chains=10", "burn_in=1", "thin=2"]
    assert_finished(tmp_path / "s", "sample", "checkpoint=run", *chains, "hydra.run.dir=s")
    assert (tmp_path / "s" / "samples.npz").is_file()
    ran = ebm("compare", "runs=run", "metrics=[cost/seconds]", "hydra.run.dir=c")
    assert (ran.code, ran.err) == (0, "")
    assert (tmp_path / "c" / "compare.csv").is_file()
    words = Elements((tmp_path / "c" / "compare.html").read_text()).words
    assert "the picture is missing, everything else is complete: " in words
    assert sentence in words


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*args: Any) -> Any:
        raise error

    return fail


def test_full_disk_for_a_picture_costs_the_picture(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("ebm_cli.training.final_figures.save", raising(full))
    ran = ebm(*WORDS)
    assert (ran.code, ran.err) == (0, "")
    assert "no room to write it (No space left on device)" in " ".join(ran.out.replace("│", " ").split())
    assert status_of(tmp_path / "run")["state"] == "finished"
    assert (tmp_path / "run" / "results.json").is_file()


def test_one_failed_figure_leaves_the_others(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ebm_cli.training.final_figures.final_figure", raising(ZeroDivisionError()))
    assert ebm(*WORDS).code == 0
    assert [file.name for file in (tmp_path / "run" / "figures").iterdir()] == ["energies.png"]


def test_interrupt_while_drawing_leaves_a_finished_run(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ebm_cli.training.final_figures.final_figure", raising(Interrupted(2)))
    assert ebm(*WORDS).code == 130
    assert status_of(tmp_path / "run")["state"] == "finished"
    assert (tmp_path / "run" / "results.json").is_file()


def test_failed_snapshots_are_said_once(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ebm_cli.training.snapshots.in_chunks", raising(ValueError("no bins")))
    ran = ebm(*WORDS, "steps=6", "eval_every=2")
    assert ran.code == 0
    sentence = "the snapshot in TensorBoard is missing, everything else is complete: ValueError: no bins"
    assert ran.out.count(sentence) == 1
    assert status_of(tmp_path / "run")["state"] == "finished"
