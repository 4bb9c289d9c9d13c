"""The metric group `ood` in a run: its keys, a foreign data set, and one that does not fit."""

import json
from pathlib import Path

import numpy as np
import pytest

from ebm_cli.datasets import Gaussian, Synthetic
from ebm_cli.energies.quadratic import Quadratic
from tests.evaluation.toys import small_evaluation
from tests.support import TINY, Ebm, no_pictures, normal

WORDS = (*TINY, "method=dsm", "steps=2", "metrics=[ood]", "hydra.run.dir=run")
KINDS = ("", "_uniform", "_shuffled")


def results_of(folder: Path) -> dict[str, float]:
    found = json.loads((folder / "results.json").read_text())
    return {key: value for key, value in found.items() if key.startswith("eval/")}


@pytest.mark.slow
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
        (["dataset@eval.ood=wine"], "eval.ood: has 13 columns (alcohol, malic_acid, ash, "),
        (["dataset@eval.ood=wine", "eval.ood.seed=-1"], "eval.ood.seed must be >= 0, got -1"),
        (["dataset@eval.ood=whine"], "dataset@eval.ood=whine: no such option; did you mean wine?"),
    ],
)
def test_foreign_rows_of_another_shape_are_refused_first(ebm: Ebm, words: list[str], line: str) -> None:
    ran = ebm("train", *WORDS, "dataset=digits", *words)
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert line in ran.err
    assert not Path("run").exists()


def test_foreign_file_is_matched_by_the_names_of_its_columns(ebm: Ebm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Swapped, and beside a third column, it gives what the same columns give in the run's order."""
    no_pictures(monkeypatch)
    rows = normal(80, 3).numpy() * [1.0, 100.0, 1.0]
    for name, columns in {"my": "ab", "same": "ab", "other": "bca", "short": "ca"}.items():
        table = rows[:, ["abc".index(column) for column in columns]]
        np.savetxt(f"{name}.csv", table, delimiter=",", header=",".join(columns), comments="", fmt="%.9g")
    assert ebm("train", *WORDS, "dataset=file", "dataset.path=my.csv").code == 0
    areas, notes = [], []
    for name in ("same", "other"):
        words = ["dataset@eval.ood=file", f"eval.ood.path={name}.csv", f"hydra.run.dir={name}"]
        ran = ebm("evaluate", "checkpoint=run", "metrics=[ood]", "eval.n_samples=20", *words)
        assert (ran.code, ran.err) == (0, "")
        areas.append(results_of(Path(name))["eval/ood_auroc_other"])
        notes.append("eval.ood: column c left out, which the run was not trained on" in ran.out)
    assert areas[0] == areas[1]
    assert notes == [False, True]
    refused = ebm("evaluate", "checkpoint=run", "metrics=[ood]", "dataset@eval.ood=file", "eval.ood.path=short.csv")
    reason = "eval.ood: has no column b: its columns are c, a, the run was trained on a, b"
    assert (refused.code, refused.err) == (1, f"ebm: {reason}\n")


def test_synthetic_data_are_compared_with_foreign_rows_alone() -> None:
    data = Synthetic(Gaussian(2))
    assert "eval/ood_auroc" not in small_evaluation(Quadratic((2,)), data, "density", "ood").results.values
    foreign = Synthetic(Gaussian(2, [30.0, 0.0]))
    found = small_evaluation(Quadratic((2,)), data, "ood", foreign=foreign).results.values
    assert found["eval/ood_auroc_other"] == 1.0
    assert found["eval/ood_auroc"] == min(found[f"eval/ood_auroc_{kind}"] for kind in ("uniform", "shuffled", "other"))
    assert list(found)[-2:] == ["eval/ood_auroc", "eval/ood_auroc_se"]
