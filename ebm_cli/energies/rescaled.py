"""An energy in other units than those it was trained in."""

import torch
from torch import Tensor

from ebm_cli.derivatives import Differentiable, Jet, Pullback, sweep
from ebm_cli.energies.base import Energy


class Rescaled(Energy, Differentiable):
    """f(u) = g(a u + b) − Σ_j log a_j, coordinate by coordinate: the density of u if that of a u + b is exp(−g).

    Args:
        energy: g.
        scale: a > 0, [*shape].
        shift: b, [*shape].

    Shapes: u [B, *shape] → [B].
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, energy: Energy, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.shape = energy.shape
        self.energy = energy
        self.register_buffer("scale", scale.clone())
        self.register_buffer("shift", shift.clone())

    def forward(self, x: Tensor) -> Tensor:
        value: Tensor = self.energy(self.scale * x + self.shift)
        return value - self.scale.log().sum()

    def sweep(self, jet: Jet) -> tuple[Jet, Pullback]:
        """Derivative rule: the directions are scaled before g, the cotangent after it."""
        a = self.scale
        first = None if jet.first is None else a * jet.first
        second = None if jet.second is None else a * jet.second
        out, through = sweep(self.energy, Jet(a * jet.value + self.shift, first, second, jet.needs_first))
        return out._replace(value=out.value - a.log().sum()), lambda g: a * through(g)

    def log_z(self) -> Tensor | None:
        return self.energy.log_z()

    def sample(self, n: int, rng: torch.Generator) -> Tensor | None:
        x = self.energy.sample(n, rng)
        return None if x is None else (x - self.shift) / self.scale
