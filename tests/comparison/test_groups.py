"""Groups of runs: only finished runs count, the best of each column, and sections by data set."""

import html
import json
import os
import subprocess
import sys

import pytest

from ebm_cli.comparison import page
from ebm_cli.comparison.columns import column_of
from ebm_cli.comparison.conclusions import warnings
from ebm_cli.comparison.groups import compare
from ebm_cli.comparison.spread import Spread
from ebm_cli.runs import record as records
from tests.comparison.support import Runs


def test_compare_averages_over_the_runs_of_a_group(runs: Runs) -> None:
    runs.write_kls("nce", 0.1, 0.2, 0.6)
    runs.write("sm", results={"eval/kl": 0.5})
    found = runs.groups()
    assert found["nce moons"].spreads["eval/kl"] == Spread.of([0.1, 0.2, 0.6])
    assert found["sm moons"].spreads["eval/kl"] == Spread(0.5, None, 1)


def test_a_missing_result_is_not_zero(runs: Runs) -> None:
    runs.write(results={"eval/kl": 0.2, "eval/ksd": 1.0})
    runs.write(results={"eval/kl": None, "eval/ksd": 2.0})
    runs.write("sm", results={"eval/kl": 0.4, "eval/mmd": True, "eval/fisher": "none"})
    found = runs.groups()
    assert found["nce moons"].spreads["eval/kl"] == Spread(0.2, None, 1)
    assert "eval/ksd" not in found["sm moons"].spreads
    assert [column.key for column in runs.compare().qualities] == ["eval/kl", "eval/ksd"]


@pytest.mark.parametrize("state", ["running", "interrupted", "diverged", "failed", "lost", "broken", "without results"])
def test_only_finished_runs_count(runs: Runs, state: str) -> None:
    runs.write_kls("nce", 0.1, 0.3)
    wild = {"eval/kl": 1000.0}
    reason = "the loss is not finite at step 7" if state == "diverged" else None
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    status = {"lost": {"state": "running", "pid": dead.pid, "host": os.uname().nodename}, "without results": {}}
    bad = runs.write(results=None if state == "without results" else wild, **(status.get(state) or {"state": state}))
    if reason:
        noted = json.loads((bad / "status.json").read_text()) | {"reason": reason}
        (bad / "status.json").write_text(json.dumps(noted))
    if state == "broken":
        (bad / "results.json").write_text('{"eval/kl": 1000')
    comparison = runs.compare()
    assert runs.groups()["nce moons"].spreads["eval/kl"].mean == pytest.approx(0.2)
    [(record, why)] = comparison.excluded
    assert record.path == bad
    expected = {"lost": "process is gone", "running": "still running", "broken": "results.json cannot be read"}
    assert (reason or expected.get(state) or state) in why
    assert why in html.unescape(page.render(comparison, {}, ""))
    # The control: had it been counted, the mean would be another.
    counted = [r._replace(state="finished", results=r.results or wild) for r in records.find(runs.root)]
    [group] = compare(counted, ["method", "dataset"]).groups
    assert group.spreads["eval/kl"].mean > 300


def test_best_groups_of_each_column(runs: Runs) -> None:
    nce = {"eval/kl": 0.1, "eval/c2st": 0.40, "eval/log_z_gap": -0.3, "eval/coverage": 0.9, "sampler/acceptance": 0.6}
    sm = {"eval/kl": 0.2, "eval/c2st": 0.55, "eval/log_z_gap": 0.2, "eval/coverage": 0.95, "sampler/acceptance": 0.9}
    runs.write("nce", results=nce | {"cost/seconds": 3.0})
    runs.write("sm", results=sm | {"cost/seconds": 2.0})
    runs.write("cd", results={"eval/kl": 0.1, "cost/seconds": 2.0})
    keys = ["eval/kl", "eval/c2st", "eval/log_z_gap", "eval/coverage", "sampler/acceptance"]
    [section] = runs.compare(metrics=keys).sections
    best = {key: {name for name, _ in names} for key, names in section.best.items()}
    assert best == {
        "eval/kl": {"nce", "cd"},
        "eval/c2st": {"sm"},
        "eval/log_z_gap": {"sm"},
        "eval/coverage": {"sm"},
        "cost/seconds": {"sm", "cd"},
    }


def test_no_group_is_better_than_the_data(runs: Runs) -> None:
    """A distance below its value between data and data is so by chance: those groups share the first place."""
    for method, value in (("nce", 0.0), ("sm", 0.009), ("cd", 0.02)):
        runs.write(method, results={"eval/mmd": value, "eval/mmd_null": 0.01})
    [section] = runs.compare(metrics=["eval/mmd"]).sections
    assert {name for name, _ in section.best["eval/mmd"]} == {"nce", "sm"}


def test_log_z_gap_is_averaged_by_its_size(runs: Runs) -> None:
    for gap in (-0.3, 0.3):
        runs.write(results={"eval/log_z_gap": gap})
    assert runs.groups()["nce moons"].spreads["eval/log_z_gap"] == Spread(0.3, 0.0, 2)


def test_groups_are_ranked_by_a_result_that_all_have(runs: Runs) -> None:
    runs.write("nce", results={"eval/nll": 3.0})
    runs.write("sm", results={"eval/nll": 2.0, "eval/kl": 0.5})
    runs.write("cd", results={"eval/nll": 1.0, "eval/kl": 0.7})
    runs.write("nce", "rings", results={"eval/kl": 0.5})
    runs.write("sm", "rings", results={"eval/kl": 0.4})
    moons, rings = runs.compare().sections
    assert moons.ranking is not None
    assert (moons.ranking.key, [g.label for g in moons.groups]) == ("eval/nll", ["cd", "sm", "nce"])
    assert rings.ranking is not None
    assert (rings.ranking.key, [g.label for g in rings.groups]) == ("eval/kl", ["sm", "nce"])
    [by_kl, _] = runs.compare(metrics=["eval/kl"]).sections
    assert [g.label for g in by_kl.groups] == ["sm", "cd", "nce"]


def test_references_are_those_of_the_true_density(runs: Runs) -> None:
    runs.write(results={"eval/nll": 1.5, "eval/entropy": 1.0, "eval/mmd": 0.3, "eval/mmd_null": 0.01, "eval/c2st": 0.6})
    runs.write("sm", results={"eval/nll": 1.4, "eval/entropy": 1.0, "eval/mmd": 0.2, "eval/mmd_null": 0.03})
    [section] = runs.compare().sections
    assert dict(section.references) == {"eval/nll": 1.0, "eval/mmd": 0.02, "eval/c2st": 0.5}


def test_median_is_the_lower_middle_run(runs: Runs) -> None:
    runs.write_kls("nce", 0.9, 0.2, 0.3, 0.25)
    [group] = runs.compare().groups
    assert group.median(column_of("eval/kl")).results["eval/kl"] == 0.25
    assert group.median(None) is group.records[0]


def test_groups_by_config_keys(runs: Runs) -> None:
    for width, value in ((8, 0.1), (8, 0.3), (64, 0.5)):
        runs.write(results={"eval/kl": value}, config={"energy": {"width": width}})
    comparison = runs.compare(["method", "energy.width"])
    assert {" ".join(g.names): g.spreads["eval/kl"].mean for g in comparison.groups} == {"nce 8": 0.2, "nce 64": 0.5}
    assert [section.name for section in comparison.sections] == ["moons"]
    assert {g.label for g in comparison.groups} == {"nce, energy.width=8", "nce, energy.width=64"}
    assert warnings(comparison) == []


def test_sections_by_data_set_alone(runs: Runs) -> None:
    for dataset in ("moons", "rings"):
        runs.write(dataset=dataset, results={"eval/kl": 0.1})
    comparison = runs.compare(["dataset"])
    assert [(s.name, [g.label for g in s.groups], dict(s.best)) for s in comparison.sections] == [
        ("moons", ["all runs"], {}),
        ("rings", ["all runs"], {}),
    ]


def test_values_that_a_search_has_drawn_have_four_digits(runs: Runs) -> None:
    for rate in (0.0012520653814999472, 0.0075):
        runs.write(results={"eval/kl": 0.1}, config={"lr": rate})
    runs.write(state="interrupted", reason="stopped early at step 400: worse")
    found = runs.compare(by=["lr"])
    assert {group.names: group.label for group in found.groups} == {
        ("0.0012520653814999472",): "lr=0.001252", ("0.0075",): "lr=0.0075",
    }  # fmt: skip
    [(record, reason)] = found.excluded
    assert (record.outcome, reason) == ("stopped early", "at step 400: worse")
    # Two that would become one name keep their digits.
    runs.write(results={"eval/kl": 0.1}, config={"lr": 0.0012520653815})
    labels = {group.label for group in runs.compare(by=["lr"]).groups}
    assert labels == {"lr=0.0012520653814999472", "lr=0.0012520653815", "lr=0.0075"}
