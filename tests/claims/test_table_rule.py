"""The rule of the table suite, judged on runs that were never made and on estimators from a file."""

import json
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from ebm_cli.claims import TableRule
from ebm_cli.claims.baseline_store import Baseline, BaselineStore
from ebm_cli.claims.judge import build_claims
from ebm_cli.config.groups import conf_dir
from ebm_cli.datasets.table_suite.members import MEMBERS
from ebm_cli.runs.record import Record
from tests.claims.records import make_record

GOOD = {"eval/kl": 0.02, "eval/tail_ratio": 1.4, "eval/outside": 0.001, "eval/outside_data": 0.0002}


def run(name: str, method: str = "nce", seed: int = 0, **results: Any) -> Record:
    """A run of ten seconds; keyword KL=… replaces eval/kl."""
    changed = {f"eval/{key.lower()}": value for key, value in results.items()}
    keys = {"name": name, "seed": seed, "n_rows": None}
    record = make_record(GOOD | {"cost/seconds": 10.0} | changed, dataset="table_suite", method=method, threads=1)
    return record._replace(config=record.config | {"dataset": keys})


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Estimators of two tables, measured with 10 seconds."""
    shell = {"mixture": 0.05, "kde": 0.04, "flow": 0.06, "seconds": 10.0}
    stored = {f"shell/{seed}/all": shell for seed in (0, 1)}
    stored |= {"clusters/0/all": {"mixture": 0.001, "flow": 0.5, "seconds": 12.0}}
    path = tmp_path / "baselines.json"
    path.write_text(json.dumps(stored))
    return str(path)


def failed(file: str, *runs: Record) -> list[str]:
    """Texts of the verdicts that fail, without the last, which counts."""
    return [verdict.what for verdict in TableRule(file).judge(runs)[:-1] if not verdict.passed]


def test_good_runs_pass_every_statement(file: str):
    verdicts = TableRule(file).judge([run("shell"), run("shell", "sm", KL=0.069), run("clusters", KL=0.08)])
    assert all(verdict.passed for verdict in verdicts)
    assert verdicts[0].what == "shell: kde 0.0400, nce 0.0200, sm 0.0690"
    assert verdicts[-2].what == "method=nce geometric mean of KL over the best baseline's 0.500 ≤ 0.7"
    assert verdicts[-1].what == "0 of 9 statements fail; 30 s of training"


@pytest.mark.parametrize(
    ("results", "what"),
    [
        ({"KL": 0.0701}, "sm/0 KL 0.0701"),
        ({"KL": None}, "sm/0 KL unknown"),
        ({"TAIL_RATIO": 2.1}, "sm/0 tail 2.1"),
        ({"OUTSIDE": 0.011}, "sm/0 outside 0.011"),
        ({"MODE_ERROR": 0.021}, "sm/0 mode 0.021"),
    ],
)
def test_each_statement_fails_beyond_its_bound(file: str, results: dict[str, Any], what: str):
    [found] = failed(file, run("shell", "sm", **results))
    assert found.endswith(f"; fails: {what}")


def test_mass_outside_may_be_ten_times_the_truth(file: str):
    assert not failed(file, run("shell", "sm", OUTSIDE=0.19, OUTSIDE_DATA=0.02))
    assert failed(file, run("shell", "sm", OUTSIDE=0.21, OUTSIDE_DATA=0.02))


def test_gain_is_a_mean_outside_the_estimators_own_family(file: str):
    """√(0.02/0.04 · 0.05/0.04) = 0.79; the Gaussian mixture, with a ratio of 20, does not count."""
    runs = [run("shell"), run("shell", seed=1, KL=0.05), run("clusters", KL=0.06)]
    [found] = failed(file, *runs)
    assert found == "method=nce geometric mean of KL over the best baseline's 0.791 not ≤ 0.7"
    # Below 0.003 nats no KL counts as better: 0.003/0.04 and 0.05/0.04.
    [found] = [v.what for v in TableRule(file).judge([run("shell", KL=1e-6), runs[1]]) if "geometric" in v.what]
    assert "0.306 ≤" in found


def test_runs_of_other_data_are_not_judged(file: str):
    [verdict] = TableRule(file).judge([make_record(GOOD, dataset="wine", method="nce")])
    assert verdict.passed is None


def test_store_measures_a_table_once_and_again_for_more_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    measured: list[tuple[Any, ...]] = []
    monkeypatch.setattr(
        "ebm_cli.claims.baseline_store._measure", lambda *table: measured.append(table) or {"mixture": 0.2, "flow": 0.1}
    )
    path = tmp_path / "new" / "baselines.json"
    for seconds in (5.0, 4.0, 6.0):
        assert BaselineStore(str(path)).best("shell", 0, None, seconds, 1) == Baseline(0.1, "flow")
    assert [table[3] for table in measured] == [5.0, 6.0]
    assert BaselineStore(str(path)).best("shell", 0, 100, 6.0, 1).name == "flow"
    assert sorted(json.loads(path.read_text())) == ["shell/0/100", "shell/0/all"]


def test_store_measures_a_real_table(tmp_path: Path):
    best = BaselineStore(str(tmp_path / "baselines.json")).best("skewed_modes", 0, 200, 0.05, 1)
    assert best.name in ("mixture", "kde", "flow")
    assert -0.2 < best.kl < 1.0


def test_experiment_sweeps_over_the_suite_that_the_rule_names():
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", ["experiment=table_suite", "dataset.seed=2"], return_hydra_config=True)
    swept = cfg.hydra.sweeper.params
    assert swept["dataset.name"].split(",") == list(MEMBERS)
    assert (swept["dataset.seed"], swept.method) == ("0,1,2", "nce,cd,ssm,sm,fce")
    assert (cfg.seed, cfg.threads) == (2, 1)
    assert isinstance(build_claims(cfg.claims, None)["rule"], TableRule)
