"""Players of a trainer: parameters of one player only, and no trace of a gradient that was not finite."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ebm_cli.energies import Energy
from ebm_cli.errors import UserError
from ebm_cli.methods import LossOutput, Method
from ebm_cli.runs.assemble import assemble
from ebm_cli.training.build import make_trainer
from ebm_cli.training.trainer import Trainer
from tests.support import composed


def trainer(*words: str) -> Trainer:
    cfg = composed("dataset=moons", "energy.width=8", "steps=100", *words)
    return make_trainer(cfg, assemble(cfg))


def test_nan_gradient_leaves_no_trace_after_rollback() -> None:
    """As with guard=rollback: none in the parameters, and none in the gaps between them."""
    made_anew = [trainer("method=nce", "clip_grad_norm=1.0", "log_every=100") for _ in range(2)]
    spoiled, sound = made_anew
    for each in made_anew:
        for _ in range(3):
            each.advance()
    state = copy.deepcopy(spoiled.state_dict())
    loss = spoiled.method.loss

    def nan_loss(energy: Any, x: Tensor, rng: torch.Generator) -> LossOutput:
        out = loss(energy, x, rng)
        return replace(out, loss=out.loss * float("nan"))

    spoiled.method.loss = nan_loss  # type: ignore[method-assign]
    spoiled.advance()
    assert not bool(spoiled.grad_norm.isfinite())
    spoiled.method.loss = loss  # type: ignore[method-assign]
    spoiled.load_state_dict(state)
    for _ in range(3):
        spoiled.advance()
        sound.advance()
        assert torch.equal(spoiled.grad_norm, sound.grad_norm)
    for a, b in zip(spoiled.energy.parameters(), sound.energy.parameters(), strict=True):
        assert torch.equal(a, b)


def test_players_may_not_share_a_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    def both(self: Method, energy: Energy) -> dict[str, list[nn.Parameter]]:
        return {"energy": list(energy.parameters()), "other": list(energy.parameters())}

    monkeypatch.setattr("ebm_cli.methods.nce.NCE.players", both)
    with pytest.raises(UserError, match="NCE lists a parameter twice"):
        trainer("method=nce")
