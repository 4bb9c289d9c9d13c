"""The metric group `features` in a run: its keys, its reasons, and synthetic data, which have none."""

import json
from pathlib import Path

import pytest

from ebm_cli.datasets import Digits
from ebm_cli.energies.mlp import MLP
from tests.evaluation.toys import DIVERGING, small_evaluation
from tests.support import TINY, Ebm, no_pictures

KEYS = {f"eval/{name}{part}" for name in ("feature_distance", "class_tv") for part in ("", "_null", "_p")}
KEYS |= {f"eval/{name}{part}" for name in ("coverage", "classifier_accuracy") for part in ("", "_null")}
KEYS |= {"eval/nn_ratio", "eval/nn_ratio_se", "eval/overall"}
WORDS = (*TINY, "method=dsm", "steps=2", "eval.n_chains=20", "metrics=[features]", "hydra.run.dir=run")


def results_of(run: Path) -> set[str]:
    found = json.loads((run / "results.json").read_text())
    return {key for key in found if not key.startswith(("cost/", "val/"))}


@pytest.mark.slow
def test_a_run_on_digits_has_feature_results(ebm: Ebm, monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)
    ran = ebm("train", *WORDS, "dataset=digits")
    assert (ran.code, ran.err) == (0, "")
    assert results_of(Path("run")) == KEYS
    for word in ("classifier_accuracy", "feature_distance", "poor", "coverage", "nn_ratio", "off the data", "reliable"):
        assert word in ran.out, word
    again = ebm("evaluate", "checkpoint=run", *(word for word in WORDS if word.startswith(("eval.", "metrics"))))
    assert again.code == 0
    [evaluated] = Path("run").glob("evaluate/*/results.json")
    stored = json.loads(Path("run/results.json").read_text())
    assert json.loads(evaluated.read_text()) == {key: stored[key] for key in KEYS}


@pytest.mark.slow
def test_data_without_classes_have_a_reason(ebm: Ebm, monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)
    ran = ebm("train", *WORDS, "dataset=diabetes")
    assert ran.code == 0
    assert results_of(Path("run")) == {"eval/nn_ratio", "eval/nn_ratio_se"}
    assert "eval/feature_distance: the data set has no classes" in ran.out


def test_synthetic_data_are_measured_by_their_density_alone(ebm: Ebm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a word where the density is measured too, and with a reason where it is not."""
    no_pictures(monkeypatch)
    both = ebm("train", *WORDS, "metrics=[density,features,ood]")
    assert both.code == 0
    assert "density is unknown" not in both.out
    assert results_of(Path("run")) & KEYS == {"eval/overall"}
    alone = ebm("train", *WORDS, "metrics=[features,ood]", "hydra.run.dir=alone")
    assert results_of(Path("alone")) == set()
    assert "features and ood are for data whose density is unknown" in alone.out


def test_chains_that_diverged_have_a_reason_for_each_result() -> None:
    found = small_evaluation(MLP((1, 8, 8), width=4), Digits(), "features", kernel=DIVERGING, init="noise").results
    assert found.values == {}
    assert found.absent == {
        "eval/feature_distance": "some chains diverged (non-finite values)",
        "eval/nn_ratio": "some chains diverged (non-finite values)",
    }
