"""A run that stops and goes on is the run that never stopped: every bit of it, and no step told twice."""

import json
import os
import shutil
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

from ebm_cli.cli.main import main
from ebm_cli.reporting.jsonl import read
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.runs.assemble import assemble
from ebm_cli.runs.directory import RunDirectory
from ebm_cli.runs.instantiate import Parts
from ebm_cli.runs.status import read_status
from ebm_cli.training import run as training
from ebm_cli.training.build import make_trainer
from ebm_cli.training.trainer import Trainer
from tests.support import FAST, METHODS, REPO, TINY, Ebm, at_step, composed, differences, last, no_pictures, trained

# --- the trainer, for every method ------------------------------------------------------------------------------------

VARIANTS = [
    ["method=nce", "noise=flow"],
    ["method=nce", "noise=uniform", "dataset.n_train=50"],
    ["method=sm", "dataset.n_train=50", "dataset.noise_std=0.1", "optimizer=sgd", "schedule=cosine"],
    ["method=ssm", "dtype=float64", "optimizer=adamw", "schedule=constant"],
    ["method=cd", "sampler=hmc", "energy=residual_mlp"],
    ["method=cd", "method.start=noise", "sampler=underdamped", "noise=uniform"],
    ["method=dsm", "ema=0", "clip_grad_norm=null"],
    ["method=fce", "noise=zuko_realnvp"],
]


def fresh(cfg: DictConfig) -> tuple[Trainer, Parts]:
    parts = assemble(cfg)
    return make_trainer(cfg, parts), parts


def advance(trainer: Trainer, n_steps: int) -> set[str]:
    """Take steps; whose turns they were."""
    players = set()
    for _ in range(n_steps):
        players.add(trainer.advance().player)
        trainer.guard.read()
    return players


@pytest.mark.parametrize("words", [[f"method={m}"] for m in METHODS] + VARIANTS, ids=" ".join)
def test_it_resumes_bit_for_bit(words: list[str], tmp_path: Path) -> None:
    """2N steps at once, against N steps, a checkpoint through a file, new objects, and N more."""
    n = 7  # inside a turn of fce, inside a block of rows, inside an epoch of 3 batches
    cfg = composed(f"steps={2 * n}", "optimizer.lr=0.05", "ema=0.9", *words)
    whole, parts = fresh(cfg)
    parts.method.prepare(parts.dataset.reference, whole.rng)
    players = advance(whole, n)
    checkpoints.save(tmp_path / "half.pt", whole.state_dict() | {"config": {}, "dataset": {}, "versions": {}})
    half = whole.energy.state_dict()
    half = {name: value.clone() for name, value in half.items()}
    players |= advance(whole, n)
    assert players == set(whole._players)
    assert differences(half, whole.energy.state_dict())

    again, _ = fresh(cfg)
    assert differences(again.energy.state_dict(), half)
    again.load_state_dict(checkpoints.read(tmp_path / "half.pt"))
    assert differences(again.energy.state_dict(), half) == []
    advance(again, n)
    assert again.step == whole.step
    assert differences(again.state_dict(), whole.state_dict()) == []
    assert again.learning_rates() == whole.learning_rates()
    # And what comes next is the same too.
    assert torch.equal(again.batches.next(), whole.batches.next())
    assert torch.equal(torch.rand(3, generator=again.rng), torch.rand(3, generator=whole.rng))


@pytest.mark.parametrize("forgotten", ["energy", "method", "optimizers", "batches", "rng", "ema"])
def test_what_is_forgotten_is_noticed(forgotten: str) -> None:
    """The control: a checkpoint that lacks one part gives another run."""
    cfg = composed("method=pcd", "steps=6")
    whole, parts = fresh(cfg)
    parts.method.prepare(parts.dataset.reference, whole.rng)
    advance(whole, 3)
    again, parts = fresh(cfg)
    parts.method.prepare(parts.dataset.reference, again.rng)
    state: dict[str, Any] = whole.state_dict() | {forgotten: again.state_dict()[forgotten]}
    again.load_state_dict(state)
    advance(whole, 3)
    advance(again, 3)
    assert differences(again.state_dict(), whole.state_dict())


@pytest.mark.parametrize("method", METHODS)
def test_players_share_out_the_parameters(method: str) -> None:
    """Disjoint, and complete for what is trained."""
    trainer, parts = fresh(composed(f"method={method}"))
    mine = Counter(id(p) for player in trainer._players.values() for p in player.flat.parameters)
    wanted = {id(p) for module in (parts.energy, parts.method) for p in module.parameters() if p.requires_grad}
    assert set(mine.values()) == {1}
    assert set(mine) == wanted


# --- the command ------------------------------------------------------------------------------------------------------


def rows(run: Path) -> list[dict[str, Any]]:
    return read(run / "metrics.jsonl")


def assert_no_step_twice(run: Path) -> None:
    """In metrics.jsonl and in TensorBoard: each of the steps once, in order."""
    steps = [row["step"] for row in rows(run)]
    assert steps == sorted(set(steps))
    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    for tag in events.Tags()["scalars"]:
        told = [event.step for event in events.Scalars(tag)]
        assert told == sorted(set(told)), tag
    assert [event.step for event in events.Scalars("train/loss")] == [row["step"] for row in rows(run)]


def state_of(run: Path) -> tuple[str, int, int]:
    status = read_status(run)
    assert status is not None
    return status["state"], status["step"], status["steps"]


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_terminated_run_goes_on_to_the_same_end(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM: exit 143, a checkpoint at that step; the second half gives the weights of a run that was left alone."""
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
    ran = ebm("train", "checkpoint=half")
    assert (ran.code, ran.err) == (0, "")
    assert state_of(half) == ("finished", 8, 8)
    assert differences(trained(half), trained(tmp_path / "whole")) == []
    assert_no_step_twice(half)
    assert [row["step"] for row in rows(half)] == list(range(1, 9))
    results = [json.loads((run / "results.json").read_text()) for run in (half, tmp_path / "whole")]
    for key in results[0].keys() - {"cost/seconds", "cost/eval_seconds", "cost/peak_memory_mb"}:
        assert results[0][key] == results[1][key], key


def test_an_interrupted_process_says_so_and_goes_on(tmp_path: Path, ebm: Ebm) -> None:
    """SIGINT to a real process: exit 130."""
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
def test_a_signal_outside_the_loop_is_obeyed_at_once(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    from ebm_cli.methods import NCE

    def stop(*args: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it went on")

    words = [*FAST, "steps=3", "hydra.run.dir=run"]
    with monkeypatch.context() as patched:
        patched.setattr(NCE if where == "prepare" else training, where, stop)
        ran = ebm("train", *words)
    assert (ran.code, ran.err) == (130, "ebm: interrupted by SIGINT\n")
    assert state_of(tmp_path / "run") == ("interrupted", 0 if where == "prepare" else 3, 3)
    assert ebm("train", *words).code == 0
    assert state_of(tmp_path / "run") == ("finished", 3, 3)
    assert_no_step_twice(tmp_path / "run")


def test_an_interrupt_ends_a_sweep(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [*FAST, "steps=2", "seed=1,2,3", "hydra.sweep.dir=sweep", "-m"]
    calls: list[int] = []
    advance_once = Trainer.advance

    def interrupted(trainer: Trainer) -> Any:
        calls.append(trainer.step)
        if len(calls) == 3:  # of two steps a job: in the second one
            signal.raise_signal(signal.SIGINT)
        return advance_once(trainer)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "advance", interrupted)
        ran = ebm("train", *words)
    assert ran.code == 130
    assert [state_of(tmp_path / "sweep" / job)[0] for job in "01"] == ["finished", "interrupted"]
    assert not (tmp_path / "sweep" / "2").exists()
    # The same command finishes what is unfinished, and leaves the rest alone.
    weights = (tmp_path / "sweep" / "0" / "checkpoints" / "last.pt").read_bytes()
    ran = ebm("train", *words)
    assert ran.code == 0
    assert ran.out.count("finished at step 2, nothing to do") == 1
    assert (tmp_path / "sweep" / "0" / "checkpoints" / "last.pt").read_bytes() == weights
    assert [state_of(tmp_path / "sweep" / job)[0] for job in "012"] == ["finished"] * 3


def test_a_crash_loses_only_what_came_after_the_checkpoint(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    status = read_status(run)
    assert status is not None
    assert status["reason"] == "ZeroDivisionError: division by zero"
    assert last(run)["step"] == 4
    assert rows(run)[-1]["step"] == 6
    assert ebm("train", *words).code == 0
    assert state_of(run) == ("finished", 9, 9)
    assert [row["step"] for row in rows(run)] == list(range(1, 10))
    assert_no_step_twice(run)
    assert differences(trained(run), trained(tmp_path / "whole")) == []


def test_a_run_killed_before_its_first_checkpoint_begins_anew(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*FAST, "steps=5", "hydra.run.dir=run"]
    with monkeypatch.context() as patched:
        at_step(patched, 4, lambda: 1 / 0)
        assert ebm("train", *words).code == 1
    assert len(rows(tmp_path / "run")) == 3
    assert ebm("train", *words).code == 0
    assert [row["step"] for row in rows(tmp_path / "run")] == [1, 2, 3, 4, 5]
    assert_no_step_twice(tmp_path / "run")


# --- whose directory it is --------------------------------------------------------------------------------------------


RUN = [*TINY, "dataset=gaussian", "dataset.density.dim=1", "steps=4", "hydra.run.dir=run"]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, to copy."""
    folder = tmp_path_factory.mktemp("once")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        no_pictures(patched)
        assert main(["train", *RUN]) == 0
    return folder / "run"


@pytest.fixture
def finished(once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(once, tmp_path / "run"))


def test_a_finished_run_is_left_alone(ebm: Ebm, finished: Path) -> None:
    before = snapshot(finished)
    ran = ebm("train", *RUN)
    assert (ran.code, ran.err) == (0, f"ebm: {finished}: finished at step 4, nothing to do\n")
    ran = ebm("train", "checkpoint=run")
    assert ran.code == 0
    assert ran.err == f"ebm: {finished}: finished at step 4, nothing to do; to train it further, set steps > 4\n"
    assert snapshot(finished) == before


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([*RUN, "seed=7"], "holds a run of another config; resume that one with checkpoint="),
        ([*RUN, "resume=never"], "already holds a run; resume it with resume=auto"),
        (["checkpoint=run", "batch_size=32"], "batch_size: cannot change when a run is continued; only "),
        (["checkpoint=run", "steps=9", "hydra.run.dir=other"], "a run is resumed in its own directory, not in "),
        (["checkpoint=run", "steps=9,10", "-m"], "a run is resumed in its own directory, not in "),
    ],
)
def test_what_would_change_a_run_is_refused(
    ebm: Ebm, finished: Path, words: list[str], line: str, tmp_path: Path
) -> None:
    before = snapshot(tmp_path)
    ran = ebm("train", *words)
    assert ran.code == 1
    assert line in ran.err
    assert len(ran.err.splitlines()) == 1
    assert snapshot(tmp_path) == before


def test_a_run_in_another_process_is_refused(ebm: Ebm, finished: Path) -> None:
    with RunDirectory(finished) as directory:
        directory.begin(4, json.loads((finished / "status.json").read_text())["config_hash"])
        before = snapshot(finished)
        for words in (RUN, ["checkpoint=run", "steps=9"]):
            ran = ebm("train", *words)
            assert ran.code == 1
            assert f"another process is running in it (pid {os.getpid()} on " in ran.err
        assert snapshot(finished) == before


def test_a_damaged_checkpoint_changes_nothing(ebm: Ebm, finished: Path) -> None:
    file = finished / "checkpoints" / "last.pt"
    file.write_bytes(file.read_bytes()[:-100])
    before = snapshot(finished)
    ran = ebm("train", "checkpoint=run", "steps=9")
    assert ran.code == 1
    assert "not a checkpoint, or a truncated one" in ran.err
    after = snapshot(finished)
    assert {name for name in before if before[name] != after[name]} <= {"train.log"}


def test_more_steps_follow_the_longer_schedule(ebm: Ebm, finished: Path) -> None:
    """Of the default schedule, which ends near zero: the learning rates of the new steps are those of a run of 9."""
    assert ebm("train", "checkpoint=run", "steps=9").code == 0
    assert state_of(finished) == ("finished", 9, 9)
    longer, _ = fresh(composed("dataset=gaussian", "dataset.density.dim=1", "steps=9"))
    rates = []
    for _ in range(9):
        advance(longer, 1)
        rates.append(longer.learning_rates()["energy"])
    assert [row["train/lr_energy"] for row in rows(finished)][4:] == rates[4:]
    assert_no_step_twice(finished)
    assert json.loads((finished / "results.json").read_text())["cost/energy_evals"] == 2.0
    assert last(finished)["config"]["steps"] == 9


def test_both_ways_to_continue_can_be_mixed(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `auto` resolved to is stored: it makes no other config of the run."""
    for step, words in ((2, RUN), (3, ["checkpoint=run"])):
        with monkeypatch.context() as patched:
            at_step(patched, step, lambda: signal.raise_signal(signal.SIGTERM))
            assert ebm("train", *words).code == 143
    assert ebm("train", *RUN).code == 0
    assert state_of(tmp_path / "run") == ("finished", 4, 4)


def test_the_best_so_far_is_remembered(ebm: Ebm, finished: Path) -> None:
    """The last checkpoint is older than the evaluation that made the best one: a continued run must not forget it."""
    best = last(finished, "best.pt")["best"]
    assert best == json.loads((finished / "results.json").read_text())["eval/kl"]
    # Back to the start, by hand: the last checkpoint's weights are now worse than the best.
    state = last(finished)
    state["energy"] = {name: 10 * value for name, value in state["energy"].items()}
    state["ema"]["mean"] = {name: 10 * value for name, value in state["ema"]["mean"].items()}
    checkpoints.save(finished / "checkpoints" / "last.pt", state)
    before = (finished / "checkpoints" / "best.pt").read_bytes()
    assert ebm("train", "checkpoint=run", "steps=5").code == 0
    assert json.loads((finished / "results.json").read_text())["eval/kl"] > best
    assert (finished / "checkpoints" / "best.pt").read_bytes() == before
