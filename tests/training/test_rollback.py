"""`guard=rollback`: a diverged run returns to its last checkpoint with lower learning rates."""

import json
from pathlib import Path

import pytest
import torch

from ebm_cli.reporting.jsonl import read
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.training.guard import Diverged
from ebm_cli.training.history import MAX_ROLLBACKS, RATE_FACTOR, Rollbacks
from tests.support import TINY, Ebm, last, no_pictures, status_of

SHORT = [*TINY, "metrics=[score]", "steps=60", "log_every=10", "checkpoint_every=10", "eval_every=null"]
SHORT += ["schedule=constant"]
DIVERGING = ["method=nce", "dataset=moons", "energy.width=128", "optimizer.lr=10"]
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


def test_run_that_diverges_again_is_given_up(ebm: Ebm, tmp_path: Path) -> None:
    words = ["method=cd", "sampler=langevin", "sampler.step_size=3.0", "energy.base=2.0", "method.k=100"]
    ran = ebm("train", *SHORT, *words, "guard=rollback", "hydra.run.dir=run")
    status = status_of(tmp_path / "run")
    assert (ran.code, status["state"], len(status["rollbacks"])) == (3, "diverged", MAX_ROLLBACKS)
    assert "most chains have diverged" in ran.err


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
