"""Trainers of several seeds, and how far the weights of two of them are apart."""

from collections.abc import Sequence

import torch

from ebm_cli.energies import MLP
from ebm_cli.runs.assemble import assemble
from ebm_cli.training.build import make_trainer
from ebm_cli.training.trainer import Trainer
from tests.support import composed

WORDS = ("dataset=moons", "energy=mlp", "steps=30", "energy.width=16")


def trainer(*words: str) -> Trainer:
    cfg = composed(*WORDS, *words)
    parts = assemble(cfg)
    made = make_trainer(cfg, parts)
    parts.method.prepare(parts.dataset.reference, made.rng)
    return made


def trainers(seeds: Sequence[int], *words: str) -> list[Trainer]:
    return [trainer(f"seed={seed}", *words) for seed in seeds]


def distance(a: Trainer, b: Trainer, player: str = "energy") -> float:
    """Relative distance of all weights of this player of two runs."""
    ours, theirs = (torch.cat([p.detach().view(-1) for p in t.players[player].flat.parameters]) for t in (a, b))
    return float((ours - theirs).norm() / theirs.norm())


def forget_constant(every: Sequence[Trainer]) -> None:
    """Set the last bias to 0: losses of differences of energies have no gradient in it, and Adam takes steps of the
    rounding of 0."""
    for one in every:
        assert isinstance(one.energy, MLP)
        with torch.no_grad():
            list(one.energy.parameters())[-1].zero_()
