"""The judgement of an experiment on its runs, after a run and after a sweep."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ebm_cli.claims import Bound, Verdict
from ebm_cli.claims.judge import ClaimsFailed, build_claims, collect_verdicts, judge_runs
from ebm_cli.errors import UserError
from ebm_cli.methods.base import LossOutput
from ebm_cli.methods.sm import SM
from ebm_cli.runs.record import jobs_of
from tests.claims.records import make_record, runs_of
from tests.support import FAST, Ebm, no_pictures


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)


def test_unfinished_run_fails_by_name_and_is_not_judged() -> None:
    diverged = make_record({"eval/kl": 9.0}, "diverged", "loss is nan at step 7", method="sm", seed=3)
    verdicts = collect_verdicts({"kl": Bound("eval/kl", at_most=1.0)}, [*runs_of("sm", 0.5), diverged])
    assert verdicts[0] == (
        "every run finishes",
        Verdict(False, "0 (no overrides) diverged: loss is nan at step 7"),
    )
    assert [(name, verdict.passed) for name, verdict in verdicts[1:]] == [("kl", True)]


def test_jobs_of_a_sweep_are_sorted_by_number(tmp_path: Path) -> None:
    """The outermost folders that Hydra made; an evaluation inside a job is not a job."""
    for name in ("0", "10", "2", "2/evaluate/now"):
        (tmp_path / name / ".hydra").mkdir(parents=True)
    assert [path.name for path in jobs_of(tmp_path)] == ["0", "2", "10"]


def test_claims_fail_if_none_is_about_the_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "status.json").write_text('{"state": "finished"}')
    with pytest.raises(ClaimsFailed, match="none is about the runs"):
        judge_runs({"kl": Bound("eval/kl", at_most=1.0, where={"method": "sm"})}, tmp_path, [tmp_path])
    assert "NOT RUN" in capsys.readouterr().out


def test_null_removes_a_claim() -> None:
    node = {"_target_": "ebm_cli.claims.Bound", "key": "eval/kl", "at_most": 1.0}
    assert build_claims({"kl": node, "other": None}, None) == {"kl": Bound("eval/kl", at_most=1.0)}
    assert build_claims(None, None) == {}


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"key": "eval/kl"}, r"claims\.c: at_most must be a number if at_least is null"),
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
def test_claim_without_a_statement_is_refused(node: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_claims({"c": {"_target_": "ebm_cli.claims.Bound", **node}}, None)


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
    """Words that run an experiment of the user."""
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    (tmp_path / "own" / "experiment" / "mine.yaml").write_text(EXPERIMENT)
    return ["--config-dir", "own", "experiment=mine", *QUICK, "metrics=[density,score]", "hydra.sweep.dir=sweep"]


def stored_verdicts(folder: Path) -> list[tuple[str, bool | None]]:
    return [(row["claim"], row["passed"]) for row in json.loads((folder / "claims.json").read_text())]


def test_sweep_is_judged_after_its_last_job(ebm: Ebm, tmp_path: Path, own: list[str]) -> None:
    ran = ebm("train", *own)
    assert ran.code == 0, ran.err
    assert stored_verdicts(tmp_path / "sweep") == [("nll", True), ("nll", True), ("fisher", True)]
    assert ran.out.count("PASS") == 3
    assert not list(tmp_path.glob("sweep/*/claims.json"))


def test_part_of_a_sweep_is_judged_and_the_rest_is_not_run(ebm: Ebm, tmp_path: Path, own: list[str]) -> None:
    ran = ebm("train", *own, "method=sm", "seed=1")
    assert ran.code == 0, ran.err
    assert stored_verdicts(tmp_path / "sweep") == [("nll", True), ("nll", None), ("fisher", True)]
    assert "method=mle eval/nll: not run" in ran.out


def test_failed_claim_is_exit_code_1_of_a_finished_run(ebm: Ebm, tmp_path: Path, own: list[str]) -> None:
    words = [*own, "hydra.mode=RUN", "method=mle", "seed=1", "hydra.run.dir=run", "claims.nll.at_most=-100"]
    ran = ebm("train", *words)
    assert ran.code == 1
    assert ran.err.splitlines()[-1].startswith("ebm: claims that failed: nll; see ")
    assert stored_verdicts(tmp_path / "run") == [("nll", None), ("nll", False), ("fisher", True)]
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "finished"


def test_claims_are_not_part_of_the_identity_of_a_run(ebm: Ebm, tmp_path: Path, own: list[str]) -> None:
    """The same sweep with another bound trains nothing, and is judged again."""
    words = [*own, "method=mle", "seed=1"]
    assert ebm("train", *words).code == 0
    again = ebm("train", *words, "claims.fisher.at_most=-1")
    assert again.code == 1
    assert "nothing to do" in again.out
    assert stored_verdicts(tmp_path / "sweep") == [("nll", None), ("nll", True), ("fisher", False)]


def test_finished_run_is_judged_by_another_bound(ebm: Ebm, tmp_path: Path, own: list[str]) -> None:
    words = [*own, "hydra.mode=RUN", "method=mle", "seed=1", "hydra.run.dir=run"]
    assert ebm("train", *words).code == 0
    again = ebm("train", *words, "claims.fisher.at_most=-1")
    assert (again.code, "step" in again.out) == (1, False)
    assert stored_verdicts(tmp_path / "run") == [("nll", None), ("nll", True), ("fisher", False)]


def test_diverged_job_fails_the_experiment_by_name(
    ebm: Ebm, tmp_path: Path, own: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = SM.loss

    def broken(*args: Any) -> LossOutput:
        out = loss(*args)
        return replace(out, loss=out.loss * math.nan)

    monkeypatch.setattr(SM, "loss", broken)
    ran = ebm("train", *own, "seed=1")
    assert ran.code == 3
    assert stored_verdicts(tmp_path / "sweep") == [
        ("every run finishes", False), ("nll", None), ("nll", True), ("fisher", True),
    ]  # fmt: skip
    assert "0 (seed=1 method=sm experiment=mine" in ran.out
    assert ") diverged: " in ran.out


def test_claim_with_a_wrong_key_is_refused_before_training(ebm: Ebm, tmp_path: Path, own: list[str]) -> None:
    ran = ebm("train", *own, "+claims.nll.atmost=3")
    assert ran.code == 1
    assert "claims.nll.atmost: no such key in Bound; did you mean at_most?" in ran.err
    assert not (tmp_path / "sweep" / "0").exists()


def test_experiments_with_claims_cannot_be_swept(ebm: Ebm, tmp_path: Path, own: list[str]) -> None:
    (tmp_path / "own" / "experiment" / "yours.yaml").write_text("# @package _global_\n# Another\nsteps: 2\n")
    ran = ebm("train", "-m", *own, "experiment=mine,yours")
    assert ran.code == 1
    assert "one at a time" in ran.err
