"""What chooses best.pt and ends training early: validation rows, and never the rows that the run is judged by."""

import json
import math
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from ebm_cli.datasets import Table
from ebm_cli.datasets.finite import Finite
from ebm_cli.evaluation.expectation import DataDistribution
from ebm_cli.reporting.jsonl import read
from ebm_cli.runs.assemble import assemble, protocol_of
from ebm_cli.runs.status import read_status
from ebm_cli.training.build import make_trainer
from ebm_cli.training.early_stopping import EarlyStopping
from ebm_cli.training.monitor import Monitor, monitored_value
from tests.support import TINY, Ebm, at_step, composed, differences, last, no_pictures, trained

WINE = [
    *TINY,
    "dataset=wine",
    "metrics=[score]",
    "energy.width=32",
    "optimizer.lr=0.02",
    "schedule=constant",
    "ema=0.5",
]
WINE += ["log_every=10", "eval_every=10", "checkpoint_every=25", "steps=400"]
"""125 rows and a network that can learn them by heart within 400 steps of milliseconds."""


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)


def status_of(run: Path) -> dict[str, Any]:
    status = read_status(run)
    assert status is not None
    return status


# --- counting ---------------------------------------------------------------------------------------------------------


def stopping_after(*values: float | None) -> EarlyStopping:
    stopping = EarlyStopping()
    for i, value in enumerate(values, start=1):
        stopping.update(10 * i, value)
    return stopping


def test_it_counts_from_the_best() -> None:
    stopping = stopping_after(3.0, 2.0, 2.5, 2.0)
    assert (stopping.best, stopping.since, stopping.waited, stopping.seen) == (2.0, 20, 2, 40)
    assert stopping.should_stop(2)
    assert not stopping.should_stop(3)
    assert not stopping.should_stop(None)
    assert stopping.reason("val/nll") == ("early stopping: val/nll has not improved for 2 evaluations, since step 20")
    stopping.update(50, 1.0)
    assert stopping.waited == 0
    assert EarlyStopping.from_state_dict(stopping.state_dict()) == stopping


def test_what_could_not_be_measured_is_no_improvement_and_no_reason_to_stop() -> None:
    assert stopping_after(None, None, None).waited == 0
    assert stopping_after(1.0, None, None).waited == 2
    # A comparison with infinity would take it for an improvement of nothing.
    assert stopping_after(math.inf, None).best == math.inf


# --- what is looked at ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["dataset=moons"], "eval/kl"),
        (["dataset=gaussian", "dataset.density.dim=3", "metrics=[density]"], "val/kl"),
        (["dataset=gaussian", "dataset.density.dim=3", "metrics=[score]"], "val/fisher"),
        (["dataset=wine"], "val/objective"),
        (["dataset=wine", "method=cd"], "val/nll"),
        (["dataset=wine", "monitor=eval/nll"], "val/nll"),
        (["dataset=wine", "monitor=val/nll"], "val/nll"),
        (["dataset=moons", "monitor=eval/nll"], "eval/nll"),
    ],
)
def test_what_is_monitored(words: list[str], key: str) -> None:
    """And its number is there to be monitored. Only where no rows enter has it the name of a final result."""
    cfg = composed(*words)
    watch = Monitor(assemble(cfg), protocol_of(cfg, 0, 16, None), cfg.monitor)
    assert watch.key == key
    assert watch.uses_validation_rows == key.startswith("val/")
    found = watch.evaluate()
    assert {name.partition("/")[0] for name in found} == {key.partition("/")[0]}
    value = watch.value(found)
    assert value is not None
    assert value == found[key]


def test_looking_changes_nothing_not_even_a_spectral_norm() -> None:
    """Its iterations go on in training mode alone."""
    cfg = composed("dataset=digits", "energy=conv", "energy.width=4", "energy.spectral_norm=true", "method=nce")
    parts = assemble(cfg)
    trainer, watch = make_trainer(cfg, parts), Monitor(parts, protocol_of(cfg, 0, 16, None), "auto")
    before = {name: value.clone() for name, value in parts.energy.state_dict().items()}
    drawn = trainer.rng.get_state()
    assert watch.evaluate() == watch.evaluate()
    assert parts.energy.training
    assert differences(before, parts.energy.state_dict()) == []
    assert torch.equal(drawn, trainer.rng.get_state())
    # The control: in training mode an evaluation of the energy does change it.
    parts.energy(parts.dataset.reference[:4])
    assert differences(before, parts.energy.state_dict())


def test_the_data_distribution_takes_the_rows_of_its_part() -> None:
    data = Table("wine")
    watched, judged = DataDistribution(data, part="validation").rows, DataDistribution(data).rows
    assert (len(watched), len(judged)) == (18, 36)
    assert torch.cdist(watched, judged).min() > 0
    assert torch.allclose(watched, data.standardizer(data.validation(100)).double(), atol=1e-5)


def test_what_a_finished_run_was_judged_by() -> None:
    results: dict[str, Any] = {"eval/nll": 2.0, "eval/mmd": 0.1, "val/objective": 0.5, "eval/log_z_method": "ais"}
    assert monitored_value("auto", results) == 0.5
    assert monitored_value("eval/nll", results) == 2.0
    assert monitored_value("eval/mmd", results) == 0.1
    assert monitored_value("eval/nll", results | {"val/nll": 3.0}) == 3.0
    assert monitored_value("auto", {"eval/fisher": 1.0, "eval/nll": 2.0}) == 2.0
    assert monitored_value("eval/log_z_method", results) is None


# --- a run ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that learns the wines by heart, and is stopped when it does."""
    from ebm_cli.cli.main import main

    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        no_pictures(patched)
        assert main(["train", *WINE, "patience=3", "hydra.run.dir=run"]) == 0
    return folder / "run"


def watched_by(run: Path) -> dict[int, float]:
    """step → what was monitored."""
    found = {row["step"]: row["val/objective"] for row in read(run / "metrics.jsonl") if "val/objective" in row}
    return {int(str(step)): float(str(value)) for step, value in found.items()}


def test_a_run_that_overfits_is_stopped(stopped: Path) -> None:
    status, seen = status_of(stopped), watched_by(stopped)
    lowest = min(seen, key=lambda step: seen[step])
    assert (status["state"], status["steps"], status["waited"]) == ("finished", 400, 3)
    assert status["step"] == lowest + 30 == max(seen)
    assert status["reason"] == f"early stopping: val/objective has not improved for 3 evaluations, since step {lowest}"
    assert 10 < lowest < 300
    assert last(stopped)["step"] == status["step"]


def test_the_best_is_chosen_by_validation_rows_and_is_what_is_judged(stopped: Path) -> None:
    seen, best = watched_by(stopped), last(stopped, "best.pt")
    assert seen[best["step"]] == best["best"] == min(seen.values())
    results = json.loads((stopped / "results.json").read_text())
    assert results["val/objective"] == best["best"]
    # The final evaluation is of the test rows, and of best.pt: its chains' temperature and its KSD are those weights'.
    again = {"eval/ksd", "eval/ksd_p"}
    assert again <= set(results)


def test_it_can_be_measured_again(ebm: Ebm, stopped: Path, tmp_path: Path) -> None:
    shutil.copytree(stopped, tmp_path / "run")
    numbers = {}
    for which in ("best", "last"):
        words = ["metrics=[score]", "eval.n_samples=20", f"which={which}", f"hydra.run.dir={which}"]
        assert ebm("evaluate", "checkpoint=run", *words).code == 0
        numbers[which] = json.loads((tmp_path / which / "results.json").read_text())
    results = json.loads((stopped / "results.json").read_text())
    assert {key: results[key] for key in numbers["best"]} == numbers["best"]
    assert {key: results[key] for key in numbers["last"]} != numbers["last"]


def test_the_learning_rate_and_the_weights_are_those_of_a_run_that_is_not_stopped(
    ebm: Ebm, stopped: Path, tmp_path: Path
) -> None:
    """The control: without patience it runs to its end, past the same best."""
    ran = ebm("train", *WINE, "hydra.run.dir=whole")
    assert ran.code == 0
    whole, step = tmp_path / "whole", status_of(stopped)["step"]
    assert (status_of(whole)["step"], status_of(whole)["reason"]) == (400, None)
    short, long = (watched_by(run) for run in (stopped, whole))
    assert max(long) == 400
    assert {key: value for key, value in long.items() if key <= step} == short
    rates = [{row["step"]: row["train/lr_energy"] for row in read(r / "metrics.jsonl")} for r in (stopped, whole)]
    assert rates[0].items() <= rates[1].items()
    # Its results are those of its last step, as ever.
    results = json.loads((whole / "results.json").read_text())
    assert results["val/objective"] == long[400] > min(long.values())


@pytest.mark.parametrize("before", [1, 21], ids=["in its last step", "20 steps before it"])
def test_an_interrupted_run_stops_where_the_other_did(
    ebm: Ebm, stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    """Evaluations that brought nothing are part of the checkpoint."""
    step = status_of(stopped)["step"]
    with monkeypatch.context() as patched:
        at_step(patched, step - before + 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert ebm("train", *WINE, "patience=3", "hydra.run.dir=run").code == 143
    run = tmp_path / "run"
    assert (last(run)["stopping"]["waited"], last(run)["step"]) == ((3, step) if before == 1 else (1, step - 20))
    assert ebm("train", "checkpoint=run").code == 0
    same_end(run, stopped)


def test_a_run_that_is_killed_after_its_best_counts_from_there(
    ebm: Ebm, stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best.pt that it finds is later than the checkpoint: that evaluation is still to come, and is the best."""
    best = last(stopped, "best.pt")["step"]
    with monkeypatch.context() as patched:
        at_step(patched, best + 2, lambda: 1 / 0)
        words = [*WINE, "patience=3", f"checkpoint_every={best - 1}"]
        assert ebm("train", *words, "hydra.run.dir=run").code == 1
    run = tmp_path / "run"
    assert (last(run)["step"], last(run, "best.pt")["step"]) == (best - 1, best)
    assert ebm("train", *words, "hydra.run.dir=run").code == 0
    same_end(run, stopped)


def test_a_run_that_is_killed_in_its_last_evaluation_stops_there(
    ebm: Ebm, stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*WINE, "patience=3", "hydra.run.dir=run"]
    with monkeypatch.context() as patched:
        patched.setattr("ebm_cli.evaluation.suite.evaluate", lambda *args: 1 / 0)
        assert ebm("train", *words).code == 1
    assert ebm("train", *words).code == 0
    same_end(tmp_path / "run", stopped)


def same_end(run: Path, other: Path) -> None:
    for name in ("last.pt", "best.pt"):
        assert differences(trained(run, name), trained(other, name)) == []
    assert last(run)["stopping"] == last(other)["stopping"]
    assert status_of(run)["reason"] == status_of(other)["reason"]
    assert watched_by(run) == watched_by(other)
    results = [json.loads((r / "results.json").read_text()) for r in (run, other)]
    for key in results[0].keys() - {"cost/seconds", "cost/eval_seconds", "cost/peak_memory_mb"}:
        assert results[0][key] == results[1][key], key


def test_a_stopped_run_goes_on_when_it_is_given_more_patience(ebm: Ebm, stopped: Path, tmp_path: Path) -> None:
    run, step = Path(shutil.copytree(stopped, tmp_path / "run")), status_of(stopped)["step"]
    for words in ([], ["steps=500"], ["patience=2"]):
        ran = ebm("train", "checkpoint=run", *words)
        assert (ran.code, ran.err) == (
            0,
            f"ebm: {run}: finished at step {step}, nothing to do; stopped early after 3 evaluations without "
            "improvement: to continue, set patience=null or > 3\n",
        )
    ran = ebm("train", "checkpoint=run", "patience=5")
    assert ran.code == 0
    assert status_of(run)["waited"] == 5
    assert status_of(run)["step"] == step + 20
    told = " ".join(ran.out.replace("│", " ").split())
    assert "nce on wine: " in told
    assert f"early stopping: val/objective has not improved for 5 evaluations, since step {step - 30}" in told
    assert f"These are the results of best.pt, of step {step - 30}; last.pt is of step {step + 20}." in told
    assert "ebm sample checkpoint=run which=best" in told
    assert ebm("train", "checkpoint=run", "patience=null", f"steps={step + 40}").code == 0
    assert (status_of(run)["step"], status_of(run)["reason"]) == (step + 40, None)


def test_patience_in_the_plane(ebm: Ebm, tmp_path: Path) -> None:
    """Where no rows enter: the numbers of a step are written once, and are those of the best weights."""
    words = [*TINY, "dataset=gaussian", "dataset.density.dim=1", "method=sm", "optimizer=sgd", "schedule=constant"]
    words += ["optimizer.lr=1e-30", "ema=0", "steps=20", "eval_every=2", "patience=2", "hydra.run.dir=run"]
    assert ebm("train", *words).code == 0
    run = tmp_path / "run"
    assert status_of(run)["reason"] == "early stopping: eval/kl has not improved for 2 evaluations, since step 2"
    assert [row["step"] for row in read(run / "metrics.jsonl") if "eval/kl" in row] == [2, 4, 6]
    results = json.loads((run / "results.json").read_text())
    assert read(run / "metrics.jsonl")[-1]["eval/kl"] == results["eval/kl"]
    assert not [key for key in results if key.startswith("val/")]


def test_the_test_rows_choose_nothing(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other test rows: other results, the same best.pt."""
    words = [*WINE, "steps=60", "metrics=[score]"]
    assert ebm("train", *words, "hydra.run.dir=a").code == 0

    held_out = Finite.held_out

    def others(self: Finite, n: int) -> torch.Tensor:
        return 3 * held_out(self, n)

    with monkeypatch.context() as patched:
        patched.setattr(Finite, "held_out", others)
        assert ebm("train", *words, "hydra.run.dir=b").code == 0
    a, b = (last(tmp_path / name, "best.pt") for name in "ab")
    assert (a["step"], a["best"]) == (b["step"], b["best"])
    assert differences(a["energy"], b["energy"]) == []
    results = [json.loads((tmp_path / name / "results.json").read_text()) for name in "ab"]
    assert results[0]["val/objective"] == results[1]["val/objective"]
    assert results[0]["eval/ksd"] != results[1]["eval/ksd"]
    # The control: other validation rows do choose.
    with monkeypatch.context() as patched:
        patched.setattr(Finite, "validation", others)
        assert ebm("train", *words, "hydra.run.dir=c").code == 0
    assert last(tmp_path / "c", "best.pt")["best"] != a["best"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["patience=0"], "patience must be >= 1, got 0"),
        (["patience=3", "eval_every=null"], "patience=3 counts evaluations: eval_every must be a number of steps"),
    ],
)
def test_what_is_refused(ebm: Ebm, words: list[str], line: str) -> None:
    ran = ebm("train", *words)
    assert (ran.code, len(ran.err.splitlines())) == (1, 1)
    assert line in ran.err
