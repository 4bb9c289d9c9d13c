"""A resumed run equals the run that never stopped, to the last bit, and logs no step twice."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ebm_cli.densities import reference_fit
from ebm_cli.densities.memo import KEPT
from ebm_cli.densities.reference_fit import fit_reference
from ebm_cli.reporting.jsonl import read as metrics_in
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.runs.assemble import assemble
from ebm_cli.runs.instantiate import Parts
from ebm_cli.training import run as training
from ebm_cli.training.build import make_trainer
from ebm_cli.training.trainer import Trainer
from tests.support import (
    FAST,
    METHODS,
    REPO,
    TINY,
    Ebm,
    at_step,
    composed,
    differences,
    last,
    no_pictures,
    seeded,
    state_of,
    status_of,
    trained,
)

# --- the trainer, for every method ------------------------------------------------------------------------------------

VARIANTS = [
    ["method=nce", "noise=flow"],
    ["method=nce", "noise=uniform", "dataset.n_train=50"],
    ["method=sm", "dataset.n_train=50", "dataset.noise_std=0.1", "optimizer=sgd", "schedule=cosine"],
    ["method=ssm", "dtype=float64", "optimizer=adamw", "schedule=constant"],
    ["method=ssm", "method.estimator=finite_difference"],
    ["method=nce", "method.objective=self_normalised"],
    ["method=nce", "method.objective=ranking", "method.nu=2"],
    ["method=cnce", "method.eps_least=0.1", "method.whiten=true"],
    ["method=cd", "sampler=hmc", "energy=residual_mlp"],
    ["method=pcd", "method.weights=jarzynski", "method.witnesses=16", "sampler=langevin"],
    ["method=pcd", "sampler=tempering", "sampler.n_replicas=3"],
    ["method=cd", "method.start=noise", "sampler=underdamped", "noise=uniform"],
    ["method=dsm", "ema=0", "clip_grad_norm=null"],
    ["method=fce", "noise=zuko_realnvp"],
    pytest.param(["method=fce", "noise=reference_flow"], marks=pytest.mark.slow),
]


def fresh(cfg: DictConfig) -> tuple[Trainer, Parts]:
    parts = assemble(cfg)
    return make_trainer(cfg, parts), parts


def advance(trainer: Trainer, n_steps: int) -> set[str]:
    """Take steps; returns the players that moved."""
    players = set()
    for _ in range(n_steps):
        players.add(trainer.advance().player)
        trainer.guard.read()
    return players


@pytest.mark.parametrize("words", [[f"method={m}"] for m in METHODS] + VARIANTS, ids=" ".join)
def test_trainer_resumes_bit_for_bit(words: list[str], tmp_path: Path) -> None:
    """2N steps at once equal N steps, a checkpoint in a file, new objects, and N more steps."""
    n = 7  # inside a turn of fce, inside a block of rows, inside an epoch of 3 batches
    cfg = composed(f"steps={2 * n}", "optimizer.lr=0.05", "ema=0.9", *words)
    whole, parts = fresh(cfg)
    parts.method.prepare(parts.dataset.reference, whole.rng)
    players = advance(whole, n)
    checkpoints.save(tmp_path / "half.pt", whole.state_dict() | {"config": {}, "dataset": {}, "versions": {}})
    half = whole.energy.state_dict()
    half = {name: value.clone() for name, value in half.items()}
    players |= advance(whole, n)
    assert players == set(whole.players)
    assert differences(half, whole.energy.state_dict())

    resumed, _ = fresh(cfg)
    assert differences(resumed.energy.state_dict(), half)
    resumed.load_state_dict(checkpoints.read(tmp_path / "half.pt"))
    assert differences(resumed.energy.state_dict(), half) == []
    advance(resumed, n)
    assert resumed.step == whole.step
    assert differences(resumed.state_dict(), whole.state_dict()) == []
    assert resumed.learning_rates() == whole.learning_rates()
    # The next batch and the next random numbers are the same, too.
    assert torch.equal(resumed.batches.next(), whole.batches.next())
    assert torch.equal(torch.rand(3, generator=resumed.rng), torch.rand(3, generator=whole.rng))


@pytest.mark.parametrize("lost", ["energy", "method", "optimizers", "batches", "rng", "ema"])
def test_resume_without_a_part_of_the_state_differs(lost: str) -> None:
    """The control."""
    cfg = composed("method=pcd", "steps=6")
    whole, parts = fresh(cfg)
    parts.method.prepare(parts.dataset.reference, whole.rng)
    advance(whole, 3)
    resumed, parts = fresh(cfg)
    parts.method.prepare(parts.dataset.reference, resumed.rng)
    state: dict[str, Any] = whole.state_dict() | {lost: resumed.state_dict()[lost]}
    resumed.load_state_dict(state)
    advance(whole, 3)
    advance(resumed, 3)
    assert differences(resumed.state_dict(), whole.state_dict())


@pytest.mark.parametrize("method", METHODS)
def test_players_partition_the_parameters(method: str) -> None:
    """They are disjoint, and together hold every parameter that is trained."""
    trainer, parts = fresh(composed(f"method={method}"))
    mine = Counter(id(p) for player in trainer.players.values() for p in player.flat.parameters)
    wanted = {id(p) for module in (parts.energy, parts.method) for p in module.parameters() if p.requires_grad}
    assert set(mine.values()) == {1}
    assert set(mine) == wanted


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)


def metrics_of(run: Path) -> list[dict[str, Any]]:
    return metrics_in(run / "metrics.jsonl")


def assert_each_step_once(run: Path) -> None:
    """metrics.jsonl and TensorBoard hold each step once, in order."""
    steps = [row["step"] for row in metrics_of(run)]
    assert steps == sorted(set(steps))
    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    for tag in events.Tags()["scalars"]:
        seen = [event.step for event in events.Scalars(tag)]
        assert seen == sorted(set(seen)), tag
    assert [event.step for event in events.Scalars("train/loss")] == [row["step"] for row in metrics_of(run)]


def test_terminated_run_resumes_to_the_same_end(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM gives exit code 143 and a checkpoint at that step."""
    words = [*FAST, "method=pcd", "method.buffer_size=64", "method.k=2", "steps=8"]
    assert ebm("train", *words, "hydra.run.dir=whole").code == 0
    with monkeypatch.context() as patched:
        at_step(patched, 4, lambda: os.kill(os.getpid(), signal.SIGTERM))
        ran = ebm("train", *words, "hydra.run.dir=half")
    assert ran.code == 143
    assert ran.err == "ebm: interrupted by SIGTERM at step 4; a checkpoint was written\n"
    half = tmp_path / "half"
    assert state_of(half) == ("interrupted", 4, 8)
    assert last(half)["step"] == 4
    assert not (half / "results.json").exists()
    assert ran.out.splitlines()[-1] == "  $ ebm train checkpoint=half"
    ran = ebm("train", "checkpoint=half")
    assert (ran.code, ran.err) == (0, "")
    assert state_of(half) == ("finished", 8, 8)
    assert differences(trained(half), trained(tmp_path / "whole")) == []
    assert_each_step_once(half)
    assert [row["step"] for row in metrics_of(half)] == list(range(1, 9))
    results = [json.loads((run / "results.json").read_text()) for run in (half, tmp_path / "whole")]
    for key in results[0].keys() - {"cost/seconds", "cost/eval_seconds", "cost/peak_memory_mb"}:
        assert results[0][key] == results[1][key], key


@pytest.mark.slow
def test_resumed_table_fits_no_density_again(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise and reference are those of the checkpoint: the same end, to the last bit, and no fit of all rows."""
    words = [
        *TINY,
        "dataset=iris",
        "metrics=[score]",
        "method=nce",
        "energy.reference=gaussian",
        "noise.family=gaussian",
    ]
    words += ["steps=4", "eval_every=null", "patience=null"]
    fitted: list[int] = []
    choose = reference_fit._best
    monkeypatch.setattr(reference_fit, "_best", lambda z, *keys: (fitted.append(len(z)), choose(z, *keys))[1])
    assert ebm("train", *words, "hydra.run.dir=whole").code == 0
    assert len(fitted) == 1
    with monkeypatch.context() as patched:
        at_step(patched, 3, lambda: signal.raise_signal(signal.SIGTERM))
        assert ebm("train", *words, "hydra.run.dir=half").code == 143
    # As in a process of its own, the fits of the first one are forgotten.
    for seed in range(KEPT):
        fit_reference(torch.randn(60, 1, generator=seeded(seed)), ("gaussian",), "none")
    fitted.clear()
    assert ebm("train", "checkpoint=half").code == 0
    assert fitted == []
    assert differences(trained(tmp_path / "half"), trained(tmp_path / "whole")) == []


@pytest.mark.slow
def test_interrupted_process_reports_it_and_resumes(tmp_path: Path, ebm: Ebm) -> None:
    """SIGINT to a process of its own: exit code 130."""
    words = [*FAST, "log_every=50", "steps=2000000", "hydra.run.dir=run"]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    process = subprocess.Popen(
        [sys.executable, "-m", "ebm_cli", "train", *words],
        cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (metrics.exists() and metrics.read_text()) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    state, step, steps = state_of(tmp_path / "run")
    assert (state, steps) == ("interrupted", 2_000_000)
    assert err == f"ebm: interrupted by SIGINT at step {step}; a checkpoint was written\n"
    assert last(tmp_path / "run")["step"] == step
    assert ebm("train", "checkpoint=run", f"steps={step + 3}").code == 0
    assert state_of(tmp_path / "run") == ("finished", step + 3, step + 3)


@pytest.mark.parametrize("where", ["prepare", "finish"])
def test_signal_outside_the_loop_ends_the_run_at_once(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    from ebm_cli.methods import NCE

    def stop(*args: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the signal was ignored")

    words = [*FAST, "steps=3", "hydra.run.dir=run"]
    with monkeypatch.context() as patched:
        patched.setattr(NCE if where == "prepare" else training, where, stop)
        ran = ebm("train", *words)
    trained = (
        "training is finished (step 3, a checkpoint was written), and ebm train checkpoint=run makes the evaluation"
    )
    where_it_was = "" if where == "prepare" else f" in the final evaluation; {trained}"
    assert (ran.code, ran.err) == (130, f"ebm: interrupted by SIGINT{where_it_was}\n")
    assert state_of(tmp_path / "run") == ("interrupted", 0 if where == "prepare" else 3, 3)
    assert ebm("train", *words).code == 0
    assert state_of(tmp_path / "run") == ("finished", 3, 3)
    assert_each_step_once(tmp_path / "run")


@pytest.mark.slow
def test_interrupt_ends_a_sweep(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [*FAST, "steps=2", "seed=1,2,3", "hydra.sweep.dir=sweep", "-m"]
    calls: list[int] = []
    advance_once = Trainer.advance

    def interrupted(trainer: Trainer) -> Any:
        calls.append(trainer.step)
        if len(calls) == 3:  # two steps a job, so this is in the second job
            signal.raise_signal(signal.SIGINT)
        return advance_once(trainer)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "advance", interrupted)
        ran = ebm("train", *words)
    assert ran.code == 130
    assert [state_of(tmp_path / "sweep" / job)[0] for job in "01"] == ["finished", "interrupted"]
    assert not (tmp_path / "sweep" / "2").exists()
    # The same command finishes the unfinished jobs and skips the others.
    weights = (tmp_path / "sweep" / "0" / "checkpoints" / "last.pt").read_bytes()
    ran = ebm("train", *words)
    assert ran.code == 0
    assert ran.out.count("finished at step 2, nothing to do") == 1
    assert (tmp_path / "sweep" / "0" / "checkpoints" / "last.pt").read_bytes() == weights
    assert [state_of(tmp_path / "sweep" / job)[0] for job in "012"] == ["finished"] * 3


def test_crash_loses_only_steps_after_the_checkpoint(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [*FAST, "method=ssm", "steps=9"]
    assert ebm("train", *words, "checkpoint_every=4", "hydra.run.dir=whole").code == 0
    words += ["checkpoint_every=4", "hydra.run.dir=run"]
    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        at_step(patched, 7, lambda: 1 / 0)
        ran = ebm("train", *words)
    assert ran.code == 1
    assert ran.err.startswith("ebm: ZeroDivisionError: division by zero")
    assert len(ran.err.splitlines()) == 1
    assert state_of(run) == ("failed", 6, 9)
    assert "Traceback" in (run / "train.log").read_text()
    assert status_of(run)["reason"] == "ZeroDivisionError: division by zero"
    assert last(run)["step"] == 4
    assert metrics_of(run)[-1]["step"] == 6
    assert ebm("train", *words).code == 0
    assert state_of(run) == ("finished", 9, 9)
    assert [row["step"] for row in metrics_of(run)] == list(range(1, 10))
    assert_each_step_once(run)
    assert differences(trained(run), trained(tmp_path / "whole")) == []


def test_run_without_a_checkpoint_begins_anew(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [*FAST, "steps=5", "hydra.run.dir=run"]
    with monkeypatch.context() as patched:
        at_step(patched, 4, lambda: 1 / 0)
        assert ebm("train", *words).code == 1
    assert len(metrics_of(tmp_path / "run")) == 3
    assert ebm("train", *words).code == 0
    assert [row["step"] for row in metrics_of(tmp_path / "run")] == [1, 2, 3, 4, 5]
    assert_each_step_once(tmp_path / "run")


SHORT = [*TINY, "dataset=gaussian", "dataset.density.dim=1", "steps=4", "hydra.run.dir=run"]


@pytest.fixture
def finished(ebm: Ebm, tmp_path: Path) -> Path:
    assert ebm("train", *SHORT).code == 0
    return tmp_path / "run"


def test_more_steps_follow_the_longer_schedule(ebm: Ebm, finished: Path) -> None:
    """The default schedule ends near zero; the learning rates of the new steps are those of a run of 9 steps."""
    assert ebm("train", "checkpoint=run", "steps=9").code == 0
    assert state_of(finished) == ("finished", 9, 9)
    longer, _ = fresh(composed("dataset=gaussian", "dataset.density.dim=1", "steps=9"))
    rates = []
    for _ in range(9):
        advance(longer, 1)
        rates.append(longer.learning_rates()["energy"])
    assert [row["train/lr_energy"] for row in metrics_of(finished)][4:] == rates[4:]
    assert_each_step_once(finished)
    assert json.loads((finished / "results.json").read_text())["cost/energy_evals"] == 2.0
    assert last(finished)["config"]["steps"] == 9


@pytest.mark.slow
def test_both_ways_to_resume_can_be_mixed(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolved value of `auto` is stored, and does not make another config of the run."""
    for step, words in ((2, SHORT), (3, ["checkpoint=run"])):
        with monkeypatch.context() as patched:
            at_step(patched, step, lambda: signal.raise_signal(signal.SIGTERM))
            assert ebm("train", *words).code == 143
    assert ebm("train", *SHORT).code == 0
    assert state_of(tmp_path / "run") == ("finished", 4, 4)


def test_best_value_survives_a_resume(ebm: Ebm, finished: Path) -> None:
    """The last checkpoint may be older than the evaluation that made the best one."""
    best = last(finished, "best.pt")["best"]
    assert best == json.loads((finished / "results.json").read_text())["eval/kl"]
    # Make the weights of the last checkpoint worse than the best ones.
    state = last(finished)
    state["energy"] = {name: 10 * value for name, value in state["energy"].items()}
    state["ema"]["mean"] = {name: 10 * value for name, value in state["ema"]["mean"].items()}
    checkpoints.save(finished / "checkpoints" / "last.pt", state)
    before = (finished / "checkpoints" / "best.pt").read_bytes()
    assert ebm("train", "checkpoint=run", "steps=5").code == 0
    assert json.loads((finished / "results.json").read_text())["eval/kl"] > best
    assert (finished / "checkpoints" / "best.pt").read_bytes() == before
