"""The registry of results: complete, the only one, and documented."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from ebm_cli.evaluation.result_list import RESULTS
from ebm_cli.evaluation.result_registry import HEADLINES, MONITORED, companions, describe, registered, verdict
from ebm_cli.evaluation.values import Value
from ebm_cli.evaluation.verdicts import Verdict
from tests.results_page import PAGE, page
from tests.support import REPO, Ebm, no_pictures, normal

KEY = re.compile(r"(eval|val|cost|sampler|train)/\w*[a-z0-9]")
PACKAGE = REPO / "ebm_cli"

EVALUATION = ("eval.n_samples=60", "eval.n_chains=15", "eval.burn_in=60", "eval.n_temperatures=10", "steps=2")
RUNS = (
    "method=nce dataset=moons",
    "method=fce dataset=moons method.turn_every=1 method.threshold=0.501",
    "method=cd method.k=2 method.kl=1 dataset=moons sampler=langevin sampler.clamp_sample=3",
    "method=cd method.k=2 dataset=moons sampler=mala metrics=[score]",
    "method=sm dataset=gaussian dataset.density.dim=3 energy=quadratic",
    "method=mle dataset=gaussian energy=quadratic",
    "method=nce dataset=mixture dataset.density.means=[[-2,0,0],[2,0,0]] energy.width=8",
    "method=nce dataset=wine dataset@eval.ood=wine energy=tilted eval_every=1",
    "method=sm dataset=file dataset.path=two_modes.npy energy.width=8",
    "method=nce dataset=file dataset.path=two_values.npy energy.width=8 metrics=[density]",
    "method=sm dataset=moons polish=ed polish.steps=2 metrics=[score]",
    "method=nce method.objective=self_normalised dataset=moons metrics=[score]",
    "method=ed dataset=moons metrics=[score]",
    "method=pcd dataset=moons sampler=tempering metrics=[score]",
    "method=cd dataset=wine energy=tilted method.jumps=2 metrics=[score]",
    "method=nce dataset=table_suite metrics=[density,{_target_:ebm_cli.evaluation.masses.Masses},"
    "{_target_:ebm_cli.evaluation.simple_estimators.Baselines,seconds:0.1}]",
)
"""Small runs that together write every key."""


def written_keys(folder: Path) -> set[str]:
    """The keys in every results.json and metrics.jsonl below a folder."""
    texts = [path.read_text() for path in folder.rglob("results.json")]
    texts += [line for path in folder.rglob("metrics.jsonl") for line in path.read_text().splitlines()]
    return {key for text in texts for key in json.loads(text)} - {"step"}


@pytest.mark.slow
def test_every_written_key_is_registered_and_no_other(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_pictures(monkeypatch)
    x = normal(200, 1, seed=0)
    np.save("two_modes.npy", torch.cat((x - 5, x[:80] + 5)).numpy())
    np.save("two_values.npy", np.stack([np.arange(200) % 2, x.flatten().numpy()], axis=1))
    for i, run in enumerate(RUNS):
        ran = ebm("train", *run.split(), *EVALUATION, "batch_size=16", "log_every=1", f"hydra.run.dir=runs/{i}")
        # So few steps leave some chains where they started, which is exit code 4.
        assert ran.code in (0, 4), ran.err
    assert ebm("evaluate", "checkpoint=runs/0", *EVALUATION[:-1]).code == 0
    for kernel in ("mala", "langevin"):
        words = ("checkpoint=runs/0", f"sampler={kernel}", "n_samples=40", "n_chains=10", "burn_in=4")
        assert ebm("sample", *words).code == 0
    np.save(tmp_path / "rows.npy", np.zeros((3, 2)))
    assert ebm("density", "checkpoint=runs/0", "data=rows.npy", "n_temperatures=4").code == 0
    keys = written_keys(tmp_path)
    assert {key for key in keys if registered(key) is None} == set()
    known = {f"{result.key}{suffix}" for result in RESULTS for suffix in ("", *result.companions)}
    missing = {key for key in known - keys if "NAME" not in key}
    assert missing == {"cost/steps"}, sorted(missing)


def key_literals(path: Path) -> Iterator[str]:
    """The string constants of a source that are keys."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and KEY.fullmatch(node.value):
            yield node.value


def test_every_key_in_the_source_is_registered() -> None:
    found = {key for path in PACKAGE.rglob("*.py") for key in key_literals(path)}
    assert {key for key in found if registered(key) is None} == set()


def test_no_module_has_a_second_table_of_keys() -> None:
    tables = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and path.name != "result_list.py":
                keys = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
                tables += [path.name] * (sum(KEY.fullmatch(key) is not None for key in keys) > 1)
    assert tables == []


def test_reference_page_is_current_and_names_every_key() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: make docs"
    for result in RESULTS:
        for suffix in ("", *result.companions):
            assert f"`{result.key}{suffix}`" in page()


def test_registry_has_each_key_once() -> None:
    assert len({result.key for result in RESULTS}) == len(RESULTS)


def test_describe_gives_an_unknown_key_its_name() -> None:
    found = describe("eval/calibration")
    assert (found.label, found.unit, found.better, str(found)) == ("calibration", "", "low", "")
    assert describe("sampler/swaps").better == "none"
    assert describe("eval/calibration_se").better == "none"
    assert verdict("eval/calibration", {"eval/calibration": 1.0}) == Verdict()


def test_registered_fills_in_the_name_of_a_pattern() -> None:
    found = registered("eval/copula_kl")
    assert found is not None
    assert (found.key, found.label, found.unit) == ("eval/copula_kl", "copula KL", "nats")
    assert "density copula" in found.meaning


def test_registered_describes_companions_by_their_result() -> None:
    se, p = registered("eval/nll_se"), registered("eval/mmd_p")
    assert se is not None
    assert p is not None
    assert (se.unit, se.meaning, se.better) == ("nats", "standard error", "none")
    assert (p.unit, p.section) == ("", "Samples")
    assert registered("eval/fisher_p") is None
    null, guess = registered("eval/mmd_null"), registered("eval/classifier_accuracy_null")
    assert null is not None
    assert guess is not None
    assert null.meaning == "the same between two samples of the data"
    assert guess.meaning == "share of the most frequent class: the accuracy of guessing"


def test_signed_results_are_those_that_can_be_negative() -> None:
    keys = ("eval/log_z", "eval/nll", "eval/entropy", "eval/kl", "eval/mmd")
    assert [key for key in keys if describe(key).signed] == ["eval/log_z", "eval/nll", "eval/entropy"]


def test_registered_describes_results_on_validation_rows() -> None:
    found = registered("val/nll_se")
    assert found is not None
    assert found.unit == "nats"
    assert found.meaning.endswith("on validation rows")
    assert registered("val/mmd") is None
    assert verdict("val/kl", {"val/kl": 0.001}) == Verdict()


def test_companions_are_results_shown_in_the_row_of_another() -> None:
    values: dict[str, Value] = {
        "eval/mmd": 0.1, "eval/mmd_null": 0.01, "eval/mmd_p": 0.3, "eval/kl": 0.1, "eval/kl_se": 0.1,
        "eval/log_z": 1.0, "eval/log_z_method": "ais", "eval/log_z_se": 0.1, "eval/log_z_gap": 0.1, "odd_p": 1.0,
    }  # fmt: skip
    assert set(values) - companions(values) == {"eval/mmd", "eval/kl", "eval/log_z", "eval/log_z_gap", "odd_p"}


def test_headlines_and_monitored_results_are_in_order() -> None:
    assert HEADLINES == ("eval/kl", "eval/nll")
    assert MONITORED == ("kl", "nll", "fisher")
