"""`guard=rollback`: a diverged run returns to its last checkpoint with lower learning rates."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from ebm_cli.reporting.jsonl import read
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.training.guard import Diverged
from ebm_cli.training.history import MAX_ROLLBACKS, RATE_FACTOR, Rollbacks
from ebm_cli.training.session import Session
from ebm_cli.training.trainer import Trainer
from tests.support import TINY, Ebm, last, no_pictures, status_of

SHORT = [*TINY, "metrics=[score]", "steps=60", "log_every=10", "checkpoint_every=10", "eval_every=null"]
SHORT += ["schedule=constant", "dataset=eight_gaussians"]
DIVERGING = ["method=nce", "energy.width=128", "optimizer.lr=10"]
"""A learning rate of 10 on a network that is no toy."""


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)


def test_diverged_run_returns_with_lower_rates_and_finishes(ebm: Ebm, tmp_path: Path) -> None:
    ran = ebm("train", *SHORT, *DIVERGING, "guard=rollback", "hydra.run.dir=run")
    assert (ran.code, ran.err) == (0, "")
    status = status_of(tmp_path / "run")
    assert (status["state"], status["step"]) == ("finished", 60)
    history = status["rollbacks"]
    assert 1 <= len(history) <= MAX_ROLLBACKS
    assert all(back["to"] < back["step"] and "the energies have exploded" in back["reason"] for back in history)
    state = last(tmp_path / "run")
    assert state["rollbacks"] == history
    [group] = state["optimizers"]["energy"]["param_groups"]
    assert group["lr"] == pytest.approx(10 * RATE_FACTOR ** len(history))
    steps = [row["step"] for row in read(tmp_path / "run" / "metrics.jsonl")]
    assert steps == sorted(set(steps))
    assert "guard=rollback" in ran.out
    assert json.loads((tmp_path / "run" / "results.json").read_text())


UNADJUSTED = ["method=cd", "sampler=langevin", "energy.base=2.0", "method.k=100"]
"""Chains of an energy with curvature 2, which diverge with a step above 1."""


@pytest.mark.slow
def test_step_of_unadjusted_chains_is_lowered(ebm: Ebm, tmp_path: Path) -> None:
    """Chains that diverge at once need another step; the learning rate stays."""
    words = [*UNADJUSTED, "sampler.step_size=3.0", "guard=rollback", "hydra.run.dir=run"]
    ran = ebm("train", *SHORT, *words)
    assert (ran.code, ran.err) == (0, "")
    history = status_of(tmp_path / "run")["rollbacks"]
    assert [(back["shortened"], back["lowers_rates"]) for back in history] == [(True, False)] * len(history)
    state = last(tmp_path / "run")
    assert state["method"]["_extra_state"]["shortened"] == 0.25 ** len(history)
    [group] = state["optimizers"]["energy"]["param_groups"]
    assert group["lr"] == state["config"]["optimizer"]["lr"]
    assert "step size of the chains times 0.25, try 1 of 5" in " ".join(ran.out.split())


def test_step_of_chains_in_a_second_phase_is_lowered(ebm: Ebm, tmp_path: Path) -> None:
    """Chains of the second phase alone: the step that diverges there is lowered, not the learning rates."""
    words = ["method=sm", "polish=jarzynski", "polish.steps=5", "polish.method.k=100", "steps=5", "log_every=5"]
    words += ["checkpoint_every=5", "sampler=langevin", "energy.base=2.0", "sampler.step_size=3.0", "guard=rollback"]
    ran = ebm("train", *SHORT, *words, "hydra.run.dir=run")
    assert (ran.code, ran.err) == (0, "")
    [first] = status_of(tmp_path / "run")["rollbacks"]
    assert (first["step"], first["to"], first["shortened"], first["lowers_rates"]) == (6, 5, True, False)
    state = last(tmp_path / "run")
    assert state["polish"]["parts"]["method._extra_state"]["shortened"] == 0.25
    [group] = state["optimizers"]["energy"]["param_groups"]
    assert group["lr"] == state["config"]["polish"]["lr"]


@pytest.mark.slow
def test_failures_before_a_second_phase_leave_its_step(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Going further back in score matching lowers the learning rates alone."""
    diverge_at_30(monkeypatch, 3)
    words = ["method=sm", "polish=jarzynski", "polish.steps=1", "sampler=langevin", "guard=rollback"]
    ran = ebm("train", *SHORT, *words, "hydra.run.dir=run")
    assert (ran.code, ran.err) == (0, "")
    history = status_of(tmp_path / "run")["rollbacks"]
    assert [(back["to"], back.get("shortened", False)) for back in history] == [(20, False), (20, False), (10, False)]
    assert last(tmp_path / "run")["polish"]["parts"]["method._extra_state"]["shortened"] == 1


@pytest.mark.slow
def test_run_that_diverges_again_is_given_up(ebm: Ebm, tmp_path: Path) -> None:
    ran = ebm("train", *SHORT, *UNADJUSTED, "sampler.step_size=1e9", "guard=rollback", "hydra.run.dir=run")
    status = status_of(tmp_path / "run")
    assert (ran.code, status["state"], len(status["rollbacks"])) == (3, "diverged", MAX_ROLLBACKS)
    assert "most chains have diverged" in ran.err


DOOMED = [*SHORT, "method=cd", "sampler=langevin", "method.k=2", "guard=rollback"]


def diverge_at_30(monkeypatch: pytest.MonkeyPatch, n_times: int) -> None:
    """Have a run diverge at step 30 on its first `n_times` ways there."""
    log = Session._log

    def log_or_diverge(session: Session, out: Any) -> None:
        if session.trainer.step == 30 and len(session.history.rollbacks.history) < n_times:
            raise Diverged(30, "of a test")
        log(session, out)

    monkeypatch.setattr(Session, "_log", log_or_diverge)


@pytest.mark.slow
def test_two_failures_at_one_place_lead_further_back(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third try starts a checkpoint earlier, and lowers both the learning rates and the step of the chains."""
    diverge_at_30(monkeypatch, 3)
    ran = ebm("train", *DOOMED, "hydra.run.dir=run")
    assert (ran.code, ran.err) == (0, "")
    history = status_of(tmp_path / "run")["rollbacks"]
    assert [back["to"] for back in history] == [20, 20, 10]
    assert [back.get("shortened", False) for back in history] == [False, False, True]
    state = last(tmp_path / "run")
    assert state["optimizers"]["energy"]["param_groups"][0]["lr"] == pytest.approx(
        state["config"]["optimizer"]["lr"] * RATE_FACTOR**3
    )
    assert state["method"]["_extra_state"]["shortened"] == 0.25


@pytest.mark.slow
def test_four_failures_lead_back_twice(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    diverge_at_30(monkeypatch, MAX_ROLLBACKS)
    assert ebm("train", *DOOMED, "hydra.run.dir=run").code == 0
    assert [back["to"] for back in status_of(tmp_path / "run")["rollbacks"]] == [20, 20, 10, 10, 0]
    assert ebm("train", *DOOMED, "checkpoint_every=null", "hydra.run.dir=again").code == 0
    assert [back["to"] for back in status_of(tmp_path / "again")["rollbacks"]] == [0] * MAX_ROLLBACKS


@pytest.mark.slow
@pytest.mark.parametrize("step", [15, 25])
def test_run_killed_after_it_went_further_back_ends_alike(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """A copy of its directory at this step, as a kill leaves it, ends with the same weights as the whole run."""
    diverge_at_30(monkeypatch, 3)
    advance = Trainer.advance

    def copy_and_advance(trainer: Trainer) -> Any:
        third = len(status_of(tmp_path / "whole").get("rollbacks", [])) == 3
        if trainer.step == step and third and not (tmp_path / "killed").exists():
            shutil.copytree(tmp_path / "whole", tmp_path / "killed")
        return advance(trainer)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "advance", copy_and_advance)
        assert ebm("train", *DOOMED, "hydra.run.dir=whole").code == 0
    assert ebm("train", *DOOMED, "hydra.run.dir=killed").code == 0
    one, two = (last(tmp_path / name) for name in ("whole", "killed"))
    assert all(torch.equal(one["energy"][key], two["energy"][key]) for key in one["energy"])
    assert one["rollbacks"] == two["rollbacks"]
    assert len(one["rollbacks"]) == 3


@pytest.mark.slow
def test_ignored_divergence_is_not_rolled_back(ebm: Ebm, tmp_path: Path) -> None:
    words = [*DIVERGING, "guard=ignore", "hydra.run.dir=run"]
    assert ebm("train", *SHORT, *words).code == 0
    status = status_of(tmp_path / "run")
    assert (status["state"], status.get("rollbacks")) == ("finished", None)


def test_rollbacks_since_the_checkpoint_multiply() -> None:
    """A checkpoint from before two rollbacks gets the factor twice, one that holds the first of them once."""
    error = Diverged(7, "the loss is not finite")
    rollbacks = Rollbacks()
    assert rollbacks.record(error, {"step": 5, "rollbacks": []}) == RATE_FACTOR
    assert rollbacks.record(error, {"step": 5, "rollbacks": []}) == RATE_FACTOR**2
    assert rollbacks.record(error, {"step": 6, "rollbacks": rollbacks.history[:2]}) == RATE_FACTOR
    assert "back to step 6" in rollbacks.describe()
    assert rollbacks.attempts_left == MAX_ROLLBACKS - 3
    assert rollbacks.rate_factor == RATE_FACTOR**3
    rollbacks.record(error, {"step": 6, "rollbacks": rollbacks.history[:3]}, is_shortened=True, lowers_rates=False)
    assert rollbacks.rate_factor == RATE_FACTOR**3


@pytest.mark.slow
def test_resume_after_a_rollback_is_exact_to_the_bit(ebm: Ebm, tmp_path: Path) -> None:
    words = (*SHORT, *DIVERGING, "guard=rollback", "log_every=20", "checkpoint_every=20")
    assert ebm("train", *words, "hydra.run.dir=whole").code == 0
    assert ebm("train", *words, "keep=9", "hydra.run.dir=parts").code == 0
    folder = tmp_path / "parts" / "checkpoints"
    checkpoints.link(folder / "step-00000040.pt", folder / "last.pt")
    status = json.loads((tmp_path / "parts" / "status.json").read_text())
    (tmp_path / "parts" / "status.json").write_text(json.dumps(status | {"state": "interrupted", "step": 40}))
    assert ebm("train", "checkpoint=parts").code == 0
    one, two = (last(tmp_path / name) for name in ("whole", "parts"))
    assert all(torch.equal(one["energy"][key], two["energy"][key]) for key in one["energy"])
    assert one["rollbacks"] == two["rollbacks"] != []
