"""Early stopping: counting evaluations without improvement, and runs that it ends."""

import json
import math
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from ebm_cli.reporting.jsonl import read
from ebm_cli.runs.model import load
from ebm_cli.training.early_stopping import EarlyStopping
from tests.support import TINY, Ebm, at_step, differences, last, no_pictures, status_of, trained

WINE = [*TINY, "dataset=wine", "metrics=[score]", "energy.width=32", "optimizer.lr=0.02", "schedule=constant"]
WINE += ["ema=0.5", "log_every=10", "eval_every=10", "checkpoint_every=25", "steps=400", "energy=mlp", "noise=gaussian"]
"""125 rows and a network, without a reference, that can memorise them within 400 steps of milliseconds."""


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)


# --- counting ---------------------------------------------------------------------------------------------------------


def stopping_after(*values: float | None) -> EarlyStopping:
    stopping = EarlyStopping()
    for i, value in enumerate(values, start=1):
        stopping.update(10 * i, value)
    return stopping


def test_count_begins_at_the_best_evaluation() -> None:
    stopping = stopping_after(3.0, 2.0, 2.5, 2.0)
    assert (stopping.best, stopping.since, stopping.waited, stopping.seen) == (2.0, 20, 2, 40)
    assert stopping.should_stop(2)
    assert not stopping.should_stop(3)
    assert not stopping.should_stop(None)
    assert stopping.reason("val/nll") == ("early stopping: val/nll has not improved for 2 evaluations, since step 20")
    stopping.update(50, 1.0)
    assert stopping.waited == 0
    assert EarlyStopping.from_state_dict(stopping.state_dict()) == stopping


def test_missing_value_is_no_improvement() -> None:
    assert stopping_after(None, None, None).waited == 0
    assert stopping_after(1.0, None, None).waited == 2
    # Infinity is no value either, so nothing is waited for.
    assert stopping_after(math.inf, None).best == math.inf


# --- runs -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that memorises its training rows, and is stopped when it does."""
    from ebm_cli.cli.main import main

    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        no_pictures(patched)
        assert main(["train", *WINE, "patience=3", "hydra.run.dir=run"]) == 0
    return folder / "run"


def monitored_values(run: Path) -> dict[int, float]:
    """Step → monitored value."""
    found = {row["step"]: row["val/objective"] for row in read(run / "metrics.jsonl") if "val/objective" in row}
    return {int(str(step)): float(str(value)) for step, value in found.items()}


def test_overfitting_run_is_stopped(stopped: Path) -> None:
    status, seen = status_of(stopped), monitored_values(stopped)
    lowest = min(seen, key=lambda step: seen[step])
    assert (status["state"], status["steps"], status["waited"]) == ("finished", 400, 3)
    assert status["step"] == lowest + 30 == max(seen)
    assert status["reason"] == f"early stopping: val/objective has not improved for 3 evaluations, since step {lowest}"
    assert 10 < lowest < 300
    assert last(stopped)["step"] == status["step"]


def test_best_is_chosen_on_validation_rows_and_evaluated(stopped: Path) -> None:
    seen, best = monitored_values(stopped), last(stopped, "best.pt")
    assert seen[best["step"]] == best["best"] == min(seen.values())
    assert status_of(stopped)["evaluated"] == best["step"]
    results = json.loads((stopped / "results.json").read_text())
    assert results["val/objective"] == best["best"]
    # The final evaluation is of best.pt, on the test rows.
    again = {"eval/ksd", "eval/ksd_p"}
    assert again <= set(results)


def test_evaluate_repeats_the_results_of_the_best(ebm: Ebm, stopped: Path, tmp_path: Path) -> None:
    shutil.copytree(stopped, tmp_path / "run")
    numbers = {}
    sentence = f"run: takes best.pt, of step {last(stopped, 'best.pt')['step']}, since the run has patience"
    for which, chosen in (("auto", []), ("best", ["which=best"]), ("last", ["which=last"])):
        words = ["metrics=[score]", "eval.n_samples=20", *chosen, f"hydra.run.dir={which}"]
        ran = ebm("evaluate", "checkpoint=run", *words)
        assert (ran.code, sentence in ran.out.splitlines()) == (0, which == "auto")
        numbers[which] = json.loads((tmp_path / which / "results.json").read_text())
    assert numbers["auto"] == numbers["best"]
    results = json.loads((stopped / "results.json").read_text())
    assert {key: results[key] for key in numbers["best"]} == numbers["best"]
    assert {key: results[key] for key in numbers["last"]} != numbers["last"]


@pytest.mark.slow
def test_other_verbs_take_the_best_too_and_say_so(ebm: Ebm, stopped: Path, tmp_path: Path) -> None:
    """Samples, compositions, scores of rows, and first weights; control: which=last."""
    shutil.copytree(stopped, tmp_path / "run")
    best, model = last(stopped, "best.pt")["step"], load("run")
    assert (model.step, load("run", which="last").step) == (best, last(stopped)["step"])
    assert model.remarks == (f"run: takes best.pt, of step {best}, since the run has patience",)
    assert load("run/checkpoints/last.pt").step == last(stopped)["step"]
    rows = model.dataset.held_out(5)
    np.save("rows.npy", rows.numpy())
    chains = ["n_samples=4", "n_chains=4", "burn_in=2", "thin=1", "init=noise"]
    few = ["n_chains=10", "n_temperatures=2", "data=rows.npy"]
    for verb, words in (("sample", chains), ("density", few)):
        ran = ebm(verb, "checkpoint=run", *words, f"hydra.run.dir={verb}")
        assert (ran.code, ran.out.count(model.remarks[0])) == (0, 1), ran.err
        ran = ebm(verb, "checkpoint=run", *words, "which=last")
        assert (ran.code, "best.pt" in ran.out) == (0, False)
    with np.load("density/density.npz") as scores:
        assert np.allclose(scores["energy"], model.energy(model.standardizer(rows)).numpy(), atol=1e-5)
    ran = ebm("sample", "checkpoint=[run,run]", *chains)
    assert (ran.code, ran.out.count(model.remarks[0])) == (0, 1), ran.err
    short = [*(word for word in WINE if word != "steps=400"), "steps=1"]
    ran = ebm("train", *short, "init_from=run", "hydra.run.dir=new")
    said = f"init_from=run: starts with the averaged weights of step {best} (best.pt)"
    assert (ran.code, ran.out.count(said)) == (0, 1), ran.err
    of_sum = ["energy=sum", "energy.checkpoints=[run,run]", "energy.train_weights=true", "hydra.run.dir=sum"]
    ran = ebm("train", *(word for word in short if not word.startswith("energy")), *of_sum)
    assert (ran.code, ran.out.count(f"energy.checkpoints: {model.remarks[0]}")) == (0, 1), ran.err


@pytest.mark.slow
def test_stopping_changes_nothing_before_it(ebm: Ebm, stopped: Path, tmp_path: Path) -> None:
    """Without patience the run continues to its end, past the same best."""
    ran = ebm("train", *WINE, "patience=null", "hydra.run.dir=whole")
    assert ran.code == 0
    whole, step = tmp_path / "whole", status_of(stopped)["step"]
    assert (status_of(whole)["step"], status_of(whole)["reason"]) == (400, None)
    short, long = (monitored_values(run) for run in (stopped, whole))
    assert max(long) == 400
    assert {key: value for key, value in long.items() if key <= step} == short
    rates = [{row["step"]: row["train/lr_energy"] for row in read(r / "metrics.jsonl")} for r in (stopped, whole)]
    assert rates[0].items() <= rates[1].items()
    # Its results are those of its last step.
    results = json.loads((whole / "results.json").read_text())
    assert results["val/objective"] == long[400] > min(long.values())


@pytest.mark.parametrize(
    "before",
    [pytest.param(1, id="in its last step", marks=pytest.mark.slow), pytest.param(21, id="20 steps before it")],
)
def test_interrupted_run_stops_at_the_same_step(
    ebm: Ebm, stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    """The count of evaluations without improvement is part of the checkpoint."""
    step = status_of(stopped)["step"]
    with monkeypatch.context() as patched:
        at_step(patched, step - before + 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert ebm("train", *WINE, "patience=3", "hydra.run.dir=run").code == 143
    run = tmp_path / "run"
    assert (last(run)["stopping"]["waited"], last(run)["step"]) == ((3, step) if before == 1 else (1, step - 20))
    assert ebm("train", "checkpoint=run").code == 0
    assert_same_end(run, stopped)


@pytest.mark.slow
def test_run_killed_after_its_best_stops_at_the_same_step(
    ebm: Ebm, stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its best.pt is newer than its last checkpoint, so that evaluation is repeated, and is the best again."""
    best = last(stopped, "best.pt")["step"]
    with monkeypatch.context() as patched:
        at_step(patched, best + 2, lambda: 1 / 0)
        words = [*WINE, "patience=3", f"checkpoint_every={best - 1}"]
        assert ebm("train", *words, "hydra.run.dir=run").code == 1
    run = tmp_path / "run"
    assert (last(run)["step"], last(run, "best.pt")["step"]) == (best - 1, best)
    assert ebm("train", *words, "hydra.run.dir=run").code == 0
    assert_same_end(run, stopped)


@pytest.mark.slow
def test_run_killed_in_its_final_evaluation_stops_there(
    ebm: Ebm, stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*WINE, "patience=3", "hydra.run.dir=run"]
    with monkeypatch.context() as patched:
        patched.setattr("ebm_cli.evaluation.suite.evaluate", lambda *args: 1 / 0)
        assert ebm("train", *words).code == 1
    assert ebm("train", *words).code == 0
    assert_same_end(tmp_path / "run", stopped)


def assert_same_end(run: Path, other: Path) -> None:
    for name in ("last.pt", "best.pt"):
        assert differences(trained(run, name), trained(other, name)) == []
    assert last(run)["stopping"] == last(other)["stopping"]
    assert status_of(run)["reason"] == status_of(other)["reason"]
    assert monitored_values(run) == monitored_values(other)
    results = [json.loads((r / "results.json").read_text()) for r in (run, other)]
    for key in results[0].keys() - {"cost/seconds", "cost/eval_seconds", "cost/peak_memory_mb"}:
        assert results[0][key] == results[1][key], key


def test_stopped_run_continues_with_more_patience(ebm: Ebm, stopped: Path, tmp_path: Path) -> None:
    run, step = Path(shutil.copytree(stopped, tmp_path / "run")), status_of(stopped)["step"]
    for words in ([], ["steps=500"], ["patience=2"]):
        ran = ebm("train", "checkpoint=run", *words)
        assert ran.code == 0
        assert ran.err.startswith(
            f"ebm: {run}: finished at step {step}, nothing to do; stopped early after 3 evaluations without "
            "improvement: to continue, set patience=null or > 3. "
        )
    ran = ebm("train", "checkpoint=run", "patience=5")
    assert ran.code == 0
    assert status_of(run)["waited"] == 5
    assert status_of(run)["step"] == step + 20
    panel = " ".join(ran.out.replace("│", " ").split())
    assert "nce on wine: " in panel
    assert f"Early stopping: val/objective has not improved for 5 evaluations, since step {step - 30}" in panel
    assert f"These are the results of best.pt, of step {step - 30}; last.pt is of step {step + 20}." in panel
    assert "ebm sample checkpoint=run $" in panel
    assert ebm("train", "checkpoint=run", "patience=null", f"steps={step + 40}").code == 0
    assert (status_of(run)["step"], status_of(run)["reason"]) == (step + 40, None)


def test_evaluation_of_the_last_step_is_written_once(ebm: Ebm, tmp_path: Path) -> None:
    """If no rows enter, results of a step are those of the best weights."""
    words = [*TINY, "dataset=gaussian", "dataset.density.dim=1", "method=sm", "optimizer=sgd", "schedule=constant"]
    words += ["optimizer.lr=1e-30", "ema=0", "steps=20", "eval_every=2", "patience=2", "hydra.run.dir=run"]
    assert ebm("train", *words).code == 0
    run = tmp_path / "run"
    assert status_of(run)["reason"] == "early stopping: eval/kl has not improved for 2 evaluations, since step 2"
    assert [row["step"] for row in read(run / "metrics.jsonl") if "eval/kl" in row] == [2, 4, 6]
    results = json.loads((run / "results.json").read_text())
    assert read(run / "metrics.jsonl")[-1]["eval/kl"] == results["eval/kl"]
    assert not [key for key in results if key.startswith("val/")]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["patience=0"], "patience must be >= 1, got 0"),
        (["patience=3", "eval_every=null"], "patience=3 counts evaluations: set eval_every to a number of steps"),
    ],
)
def test_wrong_patience_is_refused(ebm: Ebm, words: list[str], line: str) -> None:
    ran = ebm("train", *words)
    assert (ran.code, len(ran.err.splitlines())) == (1, 1)
    assert line in ran.err
