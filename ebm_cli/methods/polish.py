"""A short second phase after score matching, which mends the weights of the modes and keeps the score.

A score is local: between separate modes there are few rows, and the relative weights of the modes are hardly seen.
Another objective sees them. In the second phase it is added to the first,

    L = L₂(θ) + keep · u · L₁(θ),     u = D / E‖∇f‖² at its start,

so that the weights move to where L₂ has them while L₁ holds the score: alone, L₂ mends the weights too, and leaves the
score worse than it was. u makes a mismatch of the score as large as the score itself cost D/2 · keep nats, whatever
the scale of the data's structure, with ∇ in the coordinates of L₁ (`whiten`); L₁ of denoising score matching is σ²
times ½E‖score error‖², and is divided by it.

Related: Grenioux, OuYang & Hernández-Lobato (2026), who join a classification to denoising score matching.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from ebm_cli.derivatives import detached_gradient
from ebm_cli.energies import Energy
from ebm_cli.errors import UserError
from ebm_cli.methods.base import LossOutput, Method, Symptom
from ebm_cli.system.chunks import in_chunks
from ebm_cli.system.ranks import Ranks

ROWS = 1024
"""Rows that are differentiated at once when the phase begins: all rows of images take gigabytes."""


class Polish(nn.Module):
    """The second phase of a run: its objective, its length and its learning rate.

    Args:
        method: L₂; it trains the energy alone, or with numbers of its own.
        steps: of the phase, ≥ 1, after those of the first.
        lr: learning rate of the phase, > 0; the schedule begins anew.
        keep: weight of the first objective, > 0.

    Attributes:
        unit: u, set by `begin`.

    Raises: ValueError if a number is out of range.
    Cost: a step costs one of both objectives.
    """

    unit: Tensor

    def __init__(self, method: Method, steps: int = 1000, lr: float = 5e-4, keep: float = 2.0) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(f"steps must be >= 1, got {steps}")
        if not 0 < lr < math.inf:
            raise ValueError(f"lr must be > 0, got {lr}")
        if not 0 < keep < math.inf:
            raise ValueError(f"keep must be > 0, got {keep}")
        self.method = method
        self.steps = steps
        self.lr = lr
        self.keep = keep
        self.register_buffer("unit", torch.ones(()))

    def validate(self, first: Method, energy: Energy, batch_size: int) -> None:
        """Raise ValueError, beginning with the name of a key, for a first method or an energy that it is not for."""
        if first.score_scale is None:
            raise ValueError(
                f"polish must be null with method={type(first).__name__.lower()}: it mends what sm, ssm and dsm leave "
                "wrong, the weights of modes"
            )
        if set(self.method.players(energy)) != {"energy"}:
            raise ValueError(f"polish.method._target_ must train the energy alone, got {type(self.method).__name__}")
        with _keys_of_this_phase():
            self.method.validate(energy, batch_size)

    def divide(self, ranks: Ranks) -> None:
        """`Method.divide` of the objective; the message of an error begins with a key of this phase."""
        with _keys_of_this_phase():
            self.method.divide(ranks)

    def own_parameters(self, energy: Energy) -> list[nn.Parameter]:
        """The parameters that the objective trains beside the energy (log Z)."""
        of_energy = {id(p) for p in energy.parameters()}
        return [p for p in self.method.players(energy)["energy"] if id(p) not in of_energy]

    def symptoms(self) -> tuple[Symptom, ...]:
        """Symptoms of the added objective, read from the metrics of this phase; their cures name its keys."""
        return tuple(_of_this_phase(symptom) for symptom in self.method.symptoms())

    def begin(self, first: Method, energy: Energy, data: Tensor, rng: torch.Generator) -> None:
        """Fit the parts of the objective to the data [N, *D] and to the energy that the first phase has trained."""
        self.method.prepare(data, rng)
        self.method.calibrate(energy, data, rng)
        f, at = first.in_coordinates(energy, data)
        square = in_chunks(lambda part: detached_gradient(f, part).flatten(1).square().sum(1), at, ROWS)
        assert first.score_scale is not None
        self.unit.copy_(math.prod(data.shape[1:]) / (first.score_scale * square.mean()))

    def loss(self, first: Method, energy: Energy, x: Tensor, rng: torch.Generator) -> LossOutput:
        """Both objectives on a batch x [B, *D]."""
        kept, added = first.loss(energy, x, rng), self.method.loss(energy, x, rng)
        metrics = {**kept.metrics, "polish_loss": added.loss.detach()}
        metrics |= {f"polish_{name}": value for name, value in added.metrics.items()}
        loss = added.loss + self.keep * self.unit * kept.loss
        return LossOutput(loss, metrics, evaluations=kept.evaluations.add(added.evaluations))


def of_this_phase(cure: str) -> str:
    """A cure with the learning rate of the second phase."""
    return cure.replace("optimizer.lr", "polish.lr")


@contextmanager
def _keys_of_this_phase() -> Iterator[None]:
    """Name the keys of the objective as this phase has them, in messages of errors."""
    try:
        yield
    except (UserError, ValueError) as error:
        if str(error).startswith("method."):
            raise type(error)(f"polish.{error}") from error
        raise


def _of_this_phase(symptom: Symptom) -> Symptom:
    cure = of_this_phase(symptom.cure.replace("method.", "polish.method."))
    over = None if symptom.over is None else f"polish_{symptom.over}"
    return replace(symptom, metric=f"polish_{symptom.metric}", over=over, cure=cure)
