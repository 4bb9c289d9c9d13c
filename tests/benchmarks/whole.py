"""Rows of whole runs on eight Gaussians: seconds of training until a KL of 0.05 and of 0.01 from the data.

Every method of every library trains the energy of `ebm train`, from the same weights and in the same loop, with the
batch, optimizer, schedule, average and number of steps that `ebm train` has for that method or the most similar one;
only the loss differs. The KL of the averaged weights is a sum over a grid, by the same evaluator for all. The seconds
exclude the evaluations and the start.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import ebm.buffer
import ebm.losses
import ebm.losses.energy_discrepancy
import ebm.losses.nce
import ebm.losses.score_matching
import ebm.samplers.langevin
import torch
import torchebm.losses
from torch import Tensor, nn
from torchebm.core import BaseModel
from torchebm.samplers import LangevinDynamics

from ebm_cli.energies import Energy
from ebm_cli.evaluation.divergences import Divergences
from ebm_cli.evaluation.quadrature_grid import COARSE_GRID
from ebm_cli.methods.base import LossOutput, Method
from ebm_cli.runs.assemble import assemble
from ebm_cli.training.build import make_trainer

from .composing import compose_train, logged_step
from .harness import Effort, Fact, Measurement, Row

LIMIT = 120.0
"""Seconds of training."""
LEVELS = (0.05, 0.01)
FIRST_LOOK, BETWEEN = 0.25, 1.05
"""Seconds of training before the first evaluation, and the factor to each next one, which is the accuracy of a time."""
K, EPS = 20, 0.01
"""Steps and step size of the peers' chains; ours has its own defaults, and adapts the step size."""
SIGMA = 0.1


class Torchebm(BaseModel):
    """An energy with the interface that torchebm expects of a model."""

    def __init__(self, energy: Energy) -> None:
        super().__init__()
        self.energy = energy

    def forward(self, x: Tensor) -> Tensor:
        value: Tensor = self.energy(x)
        return value


class Peer(Method):
    """A peer's loss as a method; its own parameters are trained with the energy."""

    def __init__(self, of: Callable[[Energy, Tensor], Tensor], own: nn.Module | None = None) -> None:
        super().__init__()
        self.of = of
        self.own = own

    def loss(self, energy: Energy, x: Tensor, rng: torch.Generator) -> LossOutput:
        return LossOutput(self.of(energy, x), {})


def _torchebm(make: Callable[[BaseModel], nn.Module]) -> Callable[[Energy], Peer]:
    def method(energy: Energy) -> Peer:
        loss_fn = make(Torchebm(energy))

        def loss(energy: Energy, x: Tensor) -> Tensor:
            out = loss_fn(x)
            value: Tensor = out[0] if isinstance(out, tuple) else out
            return value

        return Peer(loss)

    return method


def _ebmkit(make: Callable[[], nn.Module]) -> Callable[[Energy], Peer]:
    def method(energy: Energy) -> Peer:
        loss_fn = make()
        return Peer(lambda energy, x: loss_fn(energy, x).loss, loss_fn)

    return method


def _torchebm_cd(persistent: bool) -> Callable[[BaseModel], nn.Module]:
    return lambda model: torchebm.losses.ContrastiveDivergence(
        model, LangevinDynamics(model, step_size=EPS), k_steps=K, persistent=persistent
    )


def _ebmkit_cd(persistent: bool) -> nn.Module:
    buffer = ebm.buffer.ReplayBuffer(10_000, (2,)) if persistent else None
    return ebm.losses.cd.ContrastiveDivergence(ebm.samplers.langevin.LangevinDynamics(EPS, K), buffer)


OURS = ("nce", "fce", "mle", "sm", "ssm", "dsm", "cd", "pcd")
score_matching = ebm.losses.score_matching
PEERS: dict[str, tuple[str, Callable[[Energy], Peer]]] = {
    "torchebm-sm": ("sm", _torchebm(lambda model: torchebm.losses.ScoreMatching(model))),
    "torchebm-ssm": ("ssm", _torchebm(lambda model: torchebm.losses.SlicedScoreMatching(model))),
    "torchebm-dsm": ("dsm", _torchebm(lambda m: torchebm.losses.DenoisingScoreMatching(m, noise_scale=SIGMA))),
    "torchebm-cd": ("cd", _torchebm(_torchebm_cd(False))),
    "torchebm-pcd": ("pcd", _torchebm(_torchebm_cd(True))),
    "ebmkit-nce": ("nce", _ebmkit(ebm.losses.nce.NoiseContrastiveEstimation)),
    "ebmkit-sm": ("sm", _ebmkit(score_matching.ExactScoreMatching)),
    "ebmkit-ssm": ("ssm", _ebmkit(score_matching.SlicedScoreMatching)),
    "ebmkit-dsm": ("dsm", _ebmkit(lambda: score_matching.DenoisingScoreMatching(SIGMA))),
    "ebmkit-cd": ("cd", _ebmkit(lambda: _ebmkit_cd(False))),
    "ebmkit-pcd": ("pcd", _ebmkit(lambda: _ebmkit_cd(True))),
    "ebmkit-ed": ("nce", _ebmkit(ebm.losses.energy_discrepancy.EnergyDiscrepancy)),
}
"""Library and method → our method with the settings to train with, and the loss."""


def rows() -> list[Row]:
    ours = {f"ours-{name}": (name, None) for name in OURS}
    return [
        Row(f"kl-{name}", name.replace("-", ", "), partial(_measure, like, make))
        for name, (like, make) in (ours | PEERS).items()
    ]


def _measure(like: str, make: Callable[[Energy], Peer] | None, effort: Effort) -> Measurement:
    cfg = compose_train(f"method={like}", "dataset=eight_gaussians")
    parts = assemble(cfg)
    torch.manual_seed(cfg.seed)
    if make is not None:
        parts = replace(parts, method=make(parts.energy))
    divergences = Divergences(parts.dataset, cfg.eval.n_samples, COARSE_GRID, part="validation")
    trainer = make_trainer(cfg, parts)
    began = time.perf_counter()
    parts.method.prepare(parts.dataset.reference, trainer.rng)
    spent = time.perf_counter() - began
    reached: dict[float, float] = {}
    limit, look, best = min(LIMIT, 2 * effort.seconds), FIRST_LOOK, float("inf")
    while spent < limit and trainer.step < cfg.steps and len(reached) < len(LEVELS):
        began = time.perf_counter()
        logged_step(cfg, trainer)
        spent += time.perf_counter() - began
        if spent >= look or trainer.step == cfg.steps:
            look = max(spent, look * BETWEEN)
            kl = _kl(divergences, trainer)
            best = min(best, kl)
            reached |= {level: spent for level in LEVELS if kl <= level and level not in reached}
    why = f"not in {cfg.steps:,} steps" if trainer.step >= cfg.steps else f"not in {limit:.0f} s"
    facts = [Fact(f"to a KL of {level}", reached.get(level), "s" if level in reached else why) for level in LEVELS]
    return Measurement(
        facts=[*facts, Fact("lowest KL", best, "nats"), Fact("ms a step", 1e3 * spent / trainer.step, "")]
    )


def _kl(divergences: Divergences, trainer: Any) -> float:
    with trainer.ema.applied():
        value = divergences(trainer.energy).results.values.get("eval/kl", float("inf"))
    return float(value)
