"""The one training step: clipping, schedules, players, average, costs and state."""

import math
from pathlib import Path

import pytest
import torch

from ebm_cli.runs.assemble import assemble
from ebm_cli.training.build import make_trainer
from ebm_cli.training.guard import Diverged
from ebm_cli.training.trainer import Trainer
from tests.support import composed, differences


def trainer(*words: str) -> Trainer:
    cfg = composed("dataset=gaussian", "log_every=100", "optimizer.lr=0.002", *words)
    parts = assemble(cfg)
    made = make_trainer(cfg, parts)
    parts.method.prepare(parts.dataset.reference, made.rng)
    return made


PLAIN = ["optimizer=sgd", "optimizer.lr=0.01", "optimizer.momentum=0", "schedule=constant"]


def test_gradient_is_clipped_to_its_norm() -> None:
    clipped = trainer("method=sm", *PLAIN, "clip_grad_norm=0.001")
    before = [p.detach().clone() for p in clipped.energy.parameters()]
    clipped.advance()
    moved = [p - b for p, b in zip(clipped.energy.parameters(), before, strict=True)]
    norm = torch.cat([m.detach().flatten() for m in moved]).norm()
    assert clipped.grad_norm > 0.01
    assert float(norm) == pytest.approx(0.01 * 0.001, rel=1e-2)
    loose = trainer("method=sm", *PLAIN, "clip_grad_norm=null")
    before = [p.detach().clone() for p in loose.energy.parameters()]
    loose.advance()
    moved = [p - b for p, b in zip(loose.energy.parameters(), before, strict=True)]
    assert float(torch.cat([m.detach().flatten() for m in moved]).norm()) == pytest.approx(
        0.01 * float(loose.grad_norm), rel=1e-2
    )


@pytest.mark.parametrize(
    ("words", "rates"),
    [
        (["schedule=constant"], [0.002] * 5),
        (["schedule=cosine"], [0.001 * (1 + math.cos(math.pi * t / 4)) for t in range(5)]),
    ],
)
def test_schedule_spans_the_run(words: list[str], rates: list[float]) -> None:
    made = trainer("method=sm", "steps=4", *words)
    seen = [made.learning_rates()["energy"]]
    for _ in range(4):
        made.advance()
        seen.append(made.learning_rates()["energy"])
    assert seen == pytest.approx(rates, abs=1e-12)


def test_default_schedule_rises_and_ends_near_zero() -> None:
    made = trainer("method=sm", "steps=40", "schedule.pct_start=0.25")
    seen = []
    for _ in range(40):
        seen.append(made.learning_rates()["energy"])
        made.advance()
    assert seen[0] == pytest.approx(0.002 / 25)
    assert max(seen) == pytest.approx(0.002, rel=0.01)
    assert seen.index(max(seen)) in (9, 10)
    assert seen[-1] < 0.002 / 100


def test_only_the_player_of_the_loss_moves() -> None:
    made = trainer("method=fce", "method.turn_every=1", "optimizer.lr=0.05", "schedule=constant")
    seen = set()
    for _ in range(20):
        before = {name: [p.detach().clone() for p in player.flat.parameters] for name, player in made.players.items()}
        ema = made.ema._mean.clone()
        turn = made.advance().player
        for name, player in made.players.items():
            moved = any(not torch.equal(p, b) for p, b in zip(player.flat.parameters, before[name], strict=True))
            assert moved == (name == turn)
        has_moved = not torch.equal(made.ema._mean, ema)
        assert has_moved == (turn == "energy")
        seen.add(turn)
    assert seen == {"energy", "flow"}


def test_each_player_has_its_own_learning_rate() -> None:
    made = trainer("method=fce", "schedule=constant", "method.flow_lr=0.0005")
    assert made.learning_rates() == {"energy": 0.002, "flow": 0.0005}


def test_average_covers_log_z() -> None:
    made = trainer("method=nce", "ema=0.9", "optimizer.lr=0.1", "schedule=constant")
    for _ in range(3):
        made.advance()
    found = made.method.learned_log_z(made.energy)
    assert found is not None
    live = found.detach()
    value = float(live)
    with made.ema.applied():
        assert float(live) != value
    assert float(live) == value


def test_evaluations_of_steps_are_summed() -> None:
    made = trainer("method=cd", "sampler=langevin", "method.k=3")
    made.advance()
    once = made.evaluations
    made.advance()
    assert made.evaluations == tuple(2 * n for n in once)
    assert once.grad >= 3


def test_non_finite_loss_reaches_the_guard() -> None:
    made = trainer("method=sm", "optimizer=sgd", "optimizer.lr=1e30", "clip_grad_norm=null", "schedule=constant")
    found = None
    for _ in range(4):
        made.advance()
        found = made.guard.read() if found is None else found
    assert isinstance(found, Diverged)
    assert found.step == 2


def test_state_can_be_loaded_with_weights_only(tmp_path: Path) -> None:
    made = trainer("method=fce")
    made.advance()
    state = made.state_dict()
    keys = {"step", "energy", "ema", "method", "optimizers", "schedules", "batches", "rng", "evaluations"}
    assert set(state) == keys
    torch.save(state, tmp_path / "state.pt")
    assert differences(torch.load(tmp_path / "state.pt", weights_only=True), state) == []
