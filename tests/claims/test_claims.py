"""What an experiment claims is judged on its runs, and nothing else is: parts not run, broken runs, missing results."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from ebm_cli.claims import Bound, Claim, Gain, NoiseContrastiveError, Order, PowerLaw, Verdict
from ebm_cli.claims.base import groups
from ebm_cli.claims.judge import ClaimsFailed, build_claims, judge, verdicts_on
from ebm_cli.claims.noise_contrastive import limit
from ebm_cli.cli.hydra_internals import grid_jobs
from ebm_cli.config.groups import conf_dir
from ebm_cli.errors import UserError
from ebm_cli.methods.base import LossOutput
from ebm_cli.methods.sm import SM
from ebm_cli.runs.record import Record, jobs_of
from tests.support import FAST, Ebm


def record(results: dict[str, Any], state: str = "finished", reason: str = "", **config: Any) -> Record:
    choices = {key: config.pop(key) for key in ("method", "dataset") if key in config}
    return Record(Path("0"), state, 1, 1, 0.0, reason, choices, config, results, "", {})


def runs_of(method: str, *kls: float) -> list[Record]:
    return [record({"eval/kl": kl}, method=method, seed=seed) for seed, kl in enumerate(kls)]


def passed(claim: Claim, runs: list[Record]) -> list[bool | None]:
    return [verdict.passed for verdict in claim.judge(runs)]


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_a_bound_holds_for_each_run_or_for_what_they_are_taken_together_to() -> None:
    runs = runs_of("nce", 0.1, 0.2, 0.6)
    assert passed(Bound("eval/kl", at_most=0.6), runs) == [True]
    assert passed(Bound("eval/kl", at_most=0.5), runs) == [False]
    assert passed(Bound("eval/kl", at_most=0.2, take="median"), runs) == [True]
    assert passed(Bound("eval/kl", at_most=0.19, take="median"), runs) == [False]
    assert passed(Bound("eval/kl", at_least=0.29, at_most=0.31, take="mean"), runs) == [True]
    assert passed(Bound("eval/kl", at_most=0.49, take="spread"), runs) == [False]
    assert passed(Bound("eval/kl", at_most=0.51, take="spread"), runs) == [True]
    assert passed(Bound("eval/kl", at_least=0.1), runs) == [True]
    assert passed(Bound("eval/kl", at_least=0.11), runs) == [False]


def test_a_gain_over_splits_has_the_error_of_splits_that_share_rows() -> None:
    """Mean −0.3 of −0.1, −0.3, −0.5: s = 0.2, and 0.2 √(1/3 + 0.25) = 0.153."""
    [verdict] = Gain("eval/kl", ratio=0.25).judge(runs_of("nce", -0.1, -0.3, -0.5))
    assert verdict == Verdict(True, "eval/kl -0.3 ± 0.15, within its noise; 3 of 3 splits below 0")
    [verdict] = Gain("eval/kl", ratio=0.25).judge(runs_of("nce", 0.4, 0.3, -0.1))
    assert (verdict.passed, verdict.what[-23:]) == (False, "; 1 of 3 splits below 0")
    unsure = [record({"eval/kl": kl, "eval/log_z_se": 0.5}) for kl in (0.4, 0.3, -0.1)]
    [verdict] = Gain("eval/kl", ratio=0.25).judge(unsure)
    assert verdict.what.endswith("splits below 0; log Z is not sure (± 0.5 at most)")
    assert passed(Gain("eval/kl", ratio=0.25), runs_of("nce", -0.1)) == [None]
    assert passed(Gain("eval/none", ratio=0.25), runs_of("nce", -0.1, -0.2)) == [False]
    with pytest.raises(ValueError, match=r"^ratio must be > 0"):
        Gain("eval/kl", ratio=0.0)


def test_a_list_makes_a_group_of_each_value_and_an_empty_group_is_not_judged() -> None:
    runs = [*runs_of("nce", 0.1), *runs_of("sm", 0.9)]
    verdicts = Bound("eval/kl", at_most=0.5, where={"method": ["nce", "sm", "mle"]}).judge(runs)
    assert [verdict.passed for verdict in verdicts] == [True, False, None]
    assert verdicts[2].what == "method=mle eval/kl: not run"
    assert passed(Bound("eval/kl", at_most=0.5, where={"method": "nce", "seed": [0, 1]}), runs) == [True, None]


def test_a_verdict_says_the_number_the_bound_and_the_source() -> None:
    [verdict] = Bound("eval/kl", at_most=0.5, source="the paper: 0.4", where={"method": "nce"}).judge(
        runs_of("nce", 0.9)
    )
    assert verdict == Verdict(False, "method=nce eval/kl 0.9 not ≤ 0.5 [the paper: 0.4]")
    [verdict] = Bound("eval/kl", at_least=0.0, at_most=0.5, take="median").judge(runs_of("nce", 0.1, 0.3, 0.2))
    assert verdict == Verdict(True, "eval/kl median 0.2 of 3 (0.1 … 0.3) in [0, 0.5]")


def test_a_result_that_is_missing_fails_by_its_run() -> None:
    [verdict] = Bound("eval/kl", at_most=1.0).judge([record({"eval/nll": 1.0})])
    assert verdict == Verdict(False, "eval/kl: 0 has no eval/kl")


# --- orders -----------------------------------------------------------------------------------------------------------


def test_an_order_of_two_results_is_within_each_run() -> None:
    runs = [record({"eval/kl": 0.1, "eval/flow_kl": 0.2}), record({"eval/kl": 0.3, "eval/flow_kl": 0.4})]
    claim = Order("eval/kl", below="eval/flow_kl")
    assert passed(claim, runs) == [True]
    assert passed(claim, [*runs, record({"eval/kl": 0.5, "eval/flow_kl": 0.4})]) == [False]
    assert passed(claim, [record({"eval/kl": 0.1})]) == [False]


def test_an_order_of_two_groups_compares_the_same_result() -> None:
    runs = [*runs_of("sm", 0.1, 0.5), *runs_of("nce", 0.4, 0.8), *runs_of("fce", 0.6)]
    claim = {"key": "eval/kl", "where": {"method": "sm"}, "beside": {"method": ["nce", "fce", "mle"]}}
    assert passed(Order(**claim), runs) == [False, True, None]
    assert passed(Order(**claim, take="median"), runs) == [True, True, None]


# --- power laws and the theory of noise contrastive estimation --------------------------------------------------------


def sized(n: int, error: float, nu: float = 1.0, **other: Any) -> Record:
    """A run of the kind that the theory is about."""
    config = {
        "dataset": {"n_train": n, "noise_std": 0.0, "density": {"dim": 5}},
        "method": {"nu": nu, "redraw": False},
        "noise": {"widen": 1.5},
        "batch_size": n,
        **other,
    }
    choices = {"method": "nce", "noise": "gaussian", "energy": "quadratic", "dataset": "gaussian"}
    return Record(Path("0"), "finished", 1, 1, 0.0, "", choices, config, {"eval/log_density_mse": error}, "", {})


def test_a_power_law_is_the_slope_in_logarithms() -> None:
    claim = PowerLaw("eval/log_density_mse", against="dataset.n_train", exponent=-1, within=0.1)
    inverse = [sized(n, 30 / n * factor) for n in (100, 1000, 10_000) for factor in (0.5, 1.5)]
    root = [sized(n, 30 / n**0.5) for n in (100, 1000, 10_000)]
    [verdict] = claim.judge(inverse)
    assert verdict.passed
    assert "slope -1.000 over 3 values, 6 runs; within 0.1" in verdict.what
    assert passed(claim, root) == [False]
    assert passed(claim, inverse[:2]) == [None]
    assert passed(claim, [sized(100, 0.0), sized(1000, 0.1)]) == [False]


def test_the_level_is_judged_against_the_limit_of_each_run() -> None:
    claim = NoiseContrastiveError(within=0.15, where={"method.nu": [1.0, 10.0]})
    right = [sized(n, limit(5, nu, 1.5) / n, nu) for n in (1000, 4000) for nu in (1.0, 10.0)]
    assert passed(claim, right) == [True, True]
    assert passed(claim, right[:1]) == [True, None]
    # Maximum likelihood's 20 in the place of 36.8 is what a fresh noise in every step would be mistaken for.
    assert passed(claim, [sized(1000, 20 / 1000)]) == [False, None]


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (sized(100, 0.1, batch_size=50), "takes 50 rows a step, and the theory needs all"),
        (sized(100, 0.1, method={"nu": 1.0, "redraw": True}), "method.redraw=True, and the theory needs False"),
        (sized(100, 0.1)._replace(choices={"method": "mle"}), "method=mle, and the theory needs nce"),
    ],
)
def test_the_theory_is_not_applied_to_other_runs(run: Record, message: str) -> None:
    [verdict] = NoiseContrastiveError(within=0.15).judge([run])
    assert verdict.passed is False
    assert message in verdict.what


@pytest.mark.parametrize("nu", [0.5, 1.0, 10.0])
@pytest.mark.parametrize("dim", [2, 5, 20])
def test_with_noise_like_the_data_the_limit_is_the_number_of_parameters(dim: int, nu: float) -> None:
    assert limit(dim, nu, 1.0) == pytest.approx((1 + 1 / nu) * dim * (dim + 3) / 2)


@pytest.mark.parametrize(("nu", "widen"), [(1.0, 1.5), (10.0, 1.5), (1.0, 0.8)])
def test_the_limit_is_theorem_3_by_brute_force(nu: float, widen: float) -> None:
    """tr(F Σ) with every matrix of the theorem as a mean over 400,000 draws, in three dimensions."""
    dim = 3
    x = torch.randn(400_000, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows, cols = torch.triu_indices(dim, dim)
    g = torch.cat([x, x[:, rows] * x[:, cols], torch.ones(len(x), 1, dtype=x.dtype)], dim=1)
    log_ratio = -dim * math.log(widen) + 0.5 * x.square().sum(1) * (1 - widen**-2)
    p = torch.sigmoid(math.log(nu) + log_ratio)
    inverse = torch.linalg.inv((g * p[:, None]).T @ g / len(x))
    b = (g * p[:, None]).mean(0)
    covariance = inverse - (1 + 1 / nu) * torch.outer(inverse @ b, inverse @ b)
    fisher = torch.cov(g.T)  # in the normalised model: its last row and column, log Z's, are 0
    assert float((fisher @ covariance).trace()) == pytest.approx(limit(dim, nu, widen), rel=0.01)


# --- the whole --------------------------------------------------------------------------------------------------------


def test_a_run_that_did_not_finish_fails_by_name_and_judges_nothing() -> None:
    diverged = record({"eval/kl": 9.0}, "diverged", "loss is nan at step 7", method="sm", seed=3)
    verdicts = verdicts_on({"kl": Bound("eval/kl", at_most=1.0)}, [*runs_of("sm", 0.5), diverged])
    assert verdicts[0] == (
        "every run finishes",
        Verdict(False, "0 (no overrides) diverged: loss is nan at step 7"),
    )
    assert [(name, verdict.passed) for name, verdict in verdicts[1:]] == [("kl", True)]


def test_the_jobs_of_a_sweep_are_its_outermost_hydra_folders_by_number(tmp_path: Path) -> None:
    for name in ("0", "10", "2", "2/evaluate/now"):
        (tmp_path / name / ".hydra").mkdir(parents=True)
    assert [path.name for path in jobs_of(tmp_path)] == ["0", "2", "10"]


def test_claims_about_nothing_that_was_run_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "status.json").write_text('{"state": "finished"}')
    with pytest.raises(ClaimsFailed, match="none is about the runs"):
        judge({"kl": Bound("eval/kl", at_most=1.0, where={"method": "sm"})}, tmp_path, [tmp_path])
    assert "NOT RUN" in capsys.readouterr().out


def test_null_takes_a_claim_away() -> None:
    node = {"_target_": "ebm_cli.claims.Bound", "key": "eval/kl", "at_most": 1.0}
    assert build_claims({"kl": node, "other": None}, None) == {"kl": Bound("eval/kl", at_most=1.0)}
    assert build_claims(None, None) == {}


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"key": "eval/kl"}, r"claims\.c: at_most must be a number"),
        ({"key": "eval/kl", "at_least": 2.0, "at_most": 1.0}, r"claims\.c\.at_least must be <= at_most = 1\.0, got 2"),
        ({"key": "eval/kl", "at_most": 1.0, "where": {"method": []}}, r"claims\.c\.where must select something"),
        ({"key": "eval/kl", "at_most": 1.0, "take": "best"}, r"claims\.c\.take.*each, median, mean, spread"),
        ({"at_most": 1.0}, r"claims\.c\.key is required"),
        ({"_target_": "ebm_cli.claims.Order", "key": "eval/kl"}, r"claims\.c: below must be another result"),
        (
            {"_target_": "ebm_cli.energies.MLP"},
            r"claims\.c\._target_=ebm_cli\.energies\.MLP: must name a class of Claim",
        ),
    ],
)
def test_a_claim_that_says_nothing_is_refused(node: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_claims({"c": {"_target_": "ebm_cli.claims.Bound", **node}}, None)


EXPERIMENTS = sorted(path.stem for path in (conf_dir() / "experiment" / "paper").glob("*.yaml"))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_shipped_experiment_speaks_of_runs_that_it_makes(name: str) -> None:
    """Every selector of its claims is met by a job of its sweep."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        swept = compose("train", [f"experiment=paper/{name}"], return_hydra_config=True).hydra.sweeper.params
        words = [f"{key}={value}" for key, value in swept.items() if "seed" not in key]
        jobs = []
        for job in grid_jobs(words):
            cfg = compose("train", [f"experiment=paper/{name}", *job], return_hydra_config=True)
            own = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
            config = OmegaConf.to_container(own, resolve=True)
            assert isinstance(config, dict)
            jobs.append(record({})._replace(choices=dict(cfg.hydra.runtime.choices), config=config))
    claims = build_claims(jobs[0].config["claims"], None)
    assert claims
    for claim in claims.values():
        for where in (getattr(claim, "where", None), getattr(claim, "beside", None)):
            assert all(group.runs for group in groups(jobs, where or {}))
    text = (conf_dir() / "experiment" / "paper" / f"{name}.yaml").read_text()
    assert all(f"# {word}" in text for word in ("Source", "Accepted", "Takes"))


# --- the command ------------------------------------------------------------------------------------------------------

EXPERIMENT = """# @package _global_
# Three seeds
hydra: {mode: MULTIRUN, sweeper: {params: {seed: "1,2", method: "sm,mle"}}}
defaults:
  - override /energy: quadratic
steps: 3
claims:
  nll: {_target_: ebm_cli.claims.Bound, key: eval/nll, at_most: 100, where: {method: [sm, mle]}}
  fisher: {_target_: ebm_cli.claims.Bound, key: eval/fisher, at_most: 100}
"""
QUICK = [word for word in FAST if not word.startswith("energy.")]


@pytest.fixture
def own(tmp_path: Path) -> list[str]:
    """Words that run an experiment of the user's own."""
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    (tmp_path / "own" / "experiment" / "mine.yaml").write_text(EXPERIMENT)
    return ["--config-dir", "own", "experiment=mine", *QUICK, "metrics=[density,score]", "hydra.sweep.dir=sweep"]


def verdicts(folder: Path) -> list[tuple[str, bool | None]]:
    return [(row["claim"], row["passed"]) for row in json.loads((folder / "claims.json").read_text())]


def test_a_sweep_is_judged_after_its_last_job(ebm: Ebm, tmp_path: Path, own: list[str]) -> None:
    ran = ebm("train", *own)
    assert ran.code == 0, ran.err
    assert verdicts(tmp_path / "sweep") == [("nll", True), ("nll", True), ("fisher", True)]
    assert ran.out.count("PASS") == 3
    assert not list(tmp_path.glob("sweep/*/claims.json"))


def test_a_part_of_a_sweep_is_judged_and_what_is_missing_is_said(ebm: Ebm, tmp_path: Path, own: list[str]) -> None:
    ran = ebm("train", *own, "method=sm", "seed=1")
    assert ran.code == 0, ran.err
    assert verdicts(tmp_path / "sweep") == [("nll", True), ("nll", None), ("fisher", True)]
    assert "method=mle eval/nll: not run" in ran.out


def test_a_claim_that_fails_is_exit_code_1_and_the_run_stays_finished(ebm: Ebm, tmp_path: Path, own: list[str]) -> None:
    words = [*own, "hydra.mode=RUN", "method=mle", "seed=1", "hydra.run.dir=run", "claims.nll.at_most=-100"]
    ran = ebm("train", *words)
    assert ran.code == 1
    assert ran.err.splitlines()[-1].startswith("ebm: claims that failed: nll; see ")
    assert verdicts(tmp_path / "run") == [("nll", None), ("nll", False), ("fisher", True)]
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "finished"


def test_what_is_expected_is_not_part_of_what_a_run_is(ebm: Ebm, tmp_path: Path, own: list[str]) -> None:
    """The same sweep with another bound trains nothing again, and is judged again."""
    words = [*own, "method=mle", "seed=1"]
    assert ebm("train", *words).code == 0
    again = ebm("train", *words, "claims.fisher.at_most=-1")
    assert again.code == 1
    assert "left alone" in again.out
    assert verdicts(tmp_path / "sweep") == [("nll", None), ("nll", True), ("fisher", False)]


def test_a_job_that_diverges_makes_the_experiment_fail_by_name(
    ebm: Ebm, tmp_path: Path, own: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = SM.loss

    def broken(*args: Any) -> LossOutput:
        out = loss(*args)
        return replace(out, loss=out.loss * math.nan)

    monkeypatch.setattr(SM, "loss", broken)
    ran = ebm("train", *own, "seed=1")
    assert ran.code == 3
    assert verdicts(tmp_path / "sweep") == [
        ("every run finishes", False), ("nll", None), ("nll", True), ("fisher", True),
    ]  # fmt: skip
    assert "0 (seed=1 method=sm experiment=mine" in ran.out
    assert ") diverged: " in ran.out


def test_a_claim_with_a_wrong_key_is_refused_before_anything_runs(ebm: Ebm, tmp_path: Path, own: list[str]) -> None:
    ran = ebm("train", *own, "+claims.nll.atmost=3")
    assert ran.code == 1
    assert "claims.nll.atmost: no such key in Bound; did you mean at_most?" in ran.err
    assert not (tmp_path / "sweep" / "0").exists()


def test_experiments_that_make_claims_are_not_swept(ebm: Ebm, tmp_path: Path, own: list[str]) -> None:
    (tmp_path / "own" / "experiment" / "yours.yaml").write_text("# @package _global_\n# Another\nsteps: 2\n")
    ran = ebm("train", "-m", *own, "experiment=mine,yours")
    assert ran.code == 1
    assert "one at a time" in ran.err
