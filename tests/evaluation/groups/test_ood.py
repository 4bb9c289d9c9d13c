"""The metric group `ood` in a run: its keys, a foreign data set, and one that does not fit."""

import json
from pathlib import Path

import pytest

from ebm_cli.datasets import Gaussian, Synthetic
from ebm_cli.energies.quadratic import Quadratic
from tests.evaluation.toys import small_evaluation
from tests.support import TINY, Ebm, no_pictures

WORDS = (*TINY, "method=dsm", "steps=2", "metrics=[ood]", "hydra.run.dir=run")
KINDS = ("", "_uniform", "_shuffled")


def results_of(folder: Path) -> dict[str, float]:
    found = json.loads((folder / "results.json").read_text())
    return {key: value for key, value in found.items() if key.startswith("eval/")}


def test_a_run_on_digits_reports_the_areas(ebm: Ebm, monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)
    ran = ebm("train", *WORDS, "dataset=digits")
    assert (ran.code, ran.err) == (0, "")
    results = results_of(Path("run"))
    assert set(results) == {f"eval/ood_auroc{kind}{part}" for kind in KINDS for part in ("", "_se")}
    assert results["eval/ood_auroc"] == min(results["eval/ood_auroc_uniform"], results["eval/ood_auroc_shuffled"])
    other = ["dataset@eval.ood=digits", "eval.ood.seed=3"]
    again = ebm("evaluate", "checkpoint=run", "metrics=[ood]", "eval.n_samples=20", *other)
    assert (again.code, again.err) == (0, "")
    [evaluated] = Path("run").glob("evaluate/*")
    found = results_of(evaluated)
    assert found["eval/ood_auroc_uniform"] == results["eval/ood_auroc_uniform"]
    assert 0.2 < found["eval/ood_auroc_other"] < 0.8


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["dataset@eval.ood=wine"], "eval.ood: its rows have the shape [13], the data's have [1, 8, 8]"),
        (["dataset@eval.ood=wine", "eval.ood.seed=-1"], "eval.ood.seed must be >= 0, got -1"),
        (["dataset@eval.ood=whine"], "dataset=whine: no such option; did you mean wine?"),
    ],
)
def test_foreign_rows_of_another_shape_are_refused_first(ebm: Ebm, words: list[str], line: str) -> None:
    ran = ebm("train", *WORDS, "dataset=digits", *words)
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert line in ran.err
    assert not Path("run").exists()


def test_synthetic_data_are_compared_with_foreign_rows_alone() -> None:
    data = Synthetic(Gaussian(2))
    assert "eval/ood_auroc" not in small_evaluation(Quadratic((2,)), data, "density", "ood").results.values
    foreign = Synthetic(Gaussian(2, [30.0, 0.0]))
    found = small_evaluation(Quadratic((2,)), data, "ood", foreign=foreign).results.values
    assert found["eval/ood_auroc_other"] == 1.0
    assert found["eval/ood_auroc"] == min(found[f"eval/ood_auroc_{kind}"] for kind in ("uniform", "shuffled", "other"))
    assert list(found)[-2:] == ["eval/ood_auroc", "eval/ood_auroc_se"]
