"""Metric groups that a user adds: on the command line, in stored configs, and the mistakes that are refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ebm_cli.datasets import Gaussian, Synthetic
from ebm_cli.energies.quadratic import Quadratic
from ebm_cli.errors import UserError
from ebm_cli.evaluation.context import Context
from ebm_cli.evaluation.metric_group import MetricGroup, measure
from ebm_cli.evaluation.results import Results
from tests.evaluation.toys import small_evaluation
from tests.support import TINY, Ebm, no_pictures

PACKAGE = '''
"""A user's package of metrics."""

import torch

from ebm_cli.evaluation.metric_group import MetricGroup, Results


class Calibration(MetricGroup):
    """Share of held-out rows that have a lower energy than a level."""

    def __init__(self, level: float = 0.0) -> None:
        if level < -100:
            raise ValueError(f"level must be >= -100, got {level}")
        self.level = level

    def results(self, context):
        with torch.no_grad():
            energy = context.energy(context.rows).double()
        return Results(
            {"eval/below": float((energy < self.level).double().mean()), "eval/undefined": float("nan")},
            notes=(f"calibrated at {self.level}",),
        )


class Bowl:
    """No metric group."""
'''
WORDS = (*TINY, "dataset=gaussian", "dataset.density.dim=3", "steps=2", "hydra.run.dir=run")
OWN = "{_target_: my_metrics.Calibration, level: 1e6}"


@pytest.fixture
def _package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package `my_metrics` in the current folder, and runs without pictures."""
    (tmp_path / "my_metrics.py").write_text(PACKAGE)
    monkeypatch.delitem(__import__("sys").modules, "my_metrics", raising=False)
    no_pictures(monkeypatch)


def results_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return found


# --- on the command line ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_package")
def test_train_measures_an_added_group(ebm: Ebm) -> None:
    ran = ebm("train", *WORDS, f"metrics=[score,{OWN}]")
    assert (ran.code, ran.err) == (0, "")
    results = results_of(Path("run"))
    assert results["eval/below"] == 1.0
    assert "eval/ksd" in results
    assert list(results).index("eval/below") > list(results).index("eval/ksd_p")
    assert "eval/undefined" not in results
    assert "Calibrated at 1000000.0." in ran.out
    assert "eval/undefined: its value is nan" in ran.out
    stored = yaml.safe_load(Path("run/config.yaml").read_text())["metrics"]
    assert stored == ["score", {"_target_": "my_metrics.Calibration", "level": 1e6}]


@pytest.mark.usefixtures("_package")
def test_names_alone_are_stored_as_before(ebm: Ebm) -> None:
    assert ebm("train", *WORDS, "metrics=[score]").code == 0
    assert yaml.safe_load(Path("run/config.yaml").read_text())["metrics"] == ["score"]


@pytest.mark.usefixtures("_package")
def test_a_run_is_known_by_the_keys_of_its_group(ebm: Ebm) -> None:
    assert ebm("train", *WORDS, f"metrics=[{OWN}]").code == 0
    assert "finished at step 2, nothing to do" in ebm("train", *WORDS, f"metrics=[{OWN}]").err
    other = ebm("train", *WORDS, f"metrics=[{OWN.replace('1e6', '2e6')}]")
    assert "holds a run of another config" in other.err


@pytest.mark.usefixtures("_package")
def test_evaluate_needs_trust_for_an_added_group(ebm: Ebm) -> None:
    """A run that was trained with one has it in its stored config; another is named beside a checkpoint."""
    assert ebm("train", *WORDS, f"metrics=[{OWN}]").code == 0
    untrusted = ebm("evaluate", "checkpoint=run", "metrics=[score]")
    assert untrusted.code == 1
    assert untrusted.err.count("\n") == 1
    assert (
        "metrics[0]._target_=my_metrics.Calibration: a stored config may name only classes of ebm_cli" in untrusted.err
    )
    assert "add 'trust=[my_metrics]'" in untrusted.err
    words = ["checkpoint=run", "eval.n_samples=20", "eval.n_chains=10", "trust=[my_metrics]"]
    ran = ebm("evaluate", *words, f"metrics=[{OWN.replace('1e6', '-99')}]")
    assert (ran.code, ran.err) == (0, "")
    [folder] = Path("run").glob("evaluate/*")
    assert results_of(folder) == {"eval/below": 0.0}


@pytest.mark.usefixtures("_package")
@pytest.mark.parametrize(
    ("metrics", "line"),
    [
        ("[densty]", "got ['densty']; did you mean density?"),
        ("density", "metrics must be a list out of density, score, samples, chains, features, ood, or mappings with"),
        ("[density,3]", "got ['density', 3]"),
        ("[{level: 1}]", "metrics[0] must be a mapping with _target_, got {'level': 1}"),
        ("[score,{_target_: my_metrics.Calibraton}]", "metrics[1]._target_=my_metrics.Calibraton: my_metrics has no"),
        ("[{_target_: my_metrics.Bowl}]", "metrics[0]._target_=my_metrics.Bowl: must name a class of MetricGroup"),
        (
            "[{_target_: my_metrics.Calibration, levl: 1}]",
            "metrics[0].levl: no such key in Calibration; did you mean level",
        ),
        ("[{_target_: my_metrics.Calibration, level: a}]", "metrics[0].level must be a number, got 'a'"),
        ("[{_target_: my_metrics.Calibration, level: -101}]", "metrics[0].level must be >= -100, got -101"),
        ("[{_target_: ebm_cli.evaluation.metric_group.MetricGroup}]", "is abstract; name one of its subclasses"),
    ],
)
def test_a_wrong_group_is_one_line(ebm: Ebm, metrics: str, line: str) -> None:
    ran = ebm("train", *WORDS, f"metrics={metrics}")
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert line in ran.err
    assert not Path("run").exists()


# --- what a group may return ------------------------------------------------------------------------------------------


class Fixed(MetricGroup):
    def __init__(self, results: Any) -> None:
        self.found = results

    def results(self, context: Context) -> Results:
        found: Results = self.found
        return found


def evaluated(*groups: str | MetricGroup) -> Results:
    return small_evaluation(Quadratic((2,)), Synthetic(Gaussian(2)), *groups).results


def test_added_results_follow_those_of_the_suite() -> None:
    found = evaluated(Fixed(Results({"eval/a": 1.0}, {"eval/b": "why"}, ("note",))), "score")
    assert list(found.values) == ["eval/fisher", "eval/fisher_flat", "eval/ksd", "eval/ksd_p", "eval/a"]
    assert found.absent["eval/b"] == "why"
    assert found.notes[-1] == "note"


def test_a_group_takes_what_others_have_computed() -> None:
    class Worst(MetricGroup):
        def results(self, context: Context) -> Results:
            return Results({"eval/copy": context.divergence_result.results.values["eval/kl"]})

    found = evaluated("density", Worst())
    assert found.values["eval/copy"] == found.values["eval/kl"]


@pytest.mark.parametrize(
    ("results", "line"),
    [
        ({"eval/a": 1.0}, "metrics: Fixed.results must return Results, got dict"),
        (Results({"a": 1.0}), "metrics: Fixed.results has the key 'a'; keys must begin with eval/"),
        (Results({3: 1.0}), "metrics: Fixed.results has the key 3; keys must begin with eval/"),  # type: ignore[dict-item]
        (Results({"eval/ksd": 1.0}), "metrics: Fixed.results has the key eval/ksd, which another metric group has"),
        (Results({"eval/a": [1.0]}), "metrics: Fixed.results: eval/a must be a number or a text, got list"),
    ],
)
def test_results_that_cannot_be_stored_are_refused(results: Any, line: str) -> None:
    with pytest.raises(UserError, match=f"^{line.replace('.', '[.]')}"):
        evaluated("score", Fixed(results))


def test_measure_returns_the_results_of_the_group() -> None:
    found = Results({"eval/a": 1.0, "eval/b": "text", "eval/c": 3})
    assert measure(Fixed(found), None, ()) == found  # type: ignore[arg-type]
