"""Exact maximum likelihood where log Z is available: the reference for the methods that do without it.

    L(θ) = E_data[f(x)] + log Z(θ)

log Z is the energy's own closed form if it has one. Otherwise, in one and two dimensions, it is a quadrature whose
nodes cover all of R^D: a regular grid t on the unit cube, mapped by the quantile function of the logistic distribution,
x = s·log(t/(1 − t)),

    Z ≈ mean_i exp(−f(x_i)) / π(x_i),     π the logistic density,

so that an energy cannot hide mass outside a box. The grid is shifted at random in every step: it samples peaks that are
narrower than its spacing without bias, and the energy cannot fit the gaps between nodes. Source: Cranley & Patterson
(1976), randomised lattice rules.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ebm_cli.energies import Energy
from ebm_cli.methods.base import Evaluations, LossOutput
from ebm_cli.methods.of_energies import OfEnergies, Query


class MLE(OfEnergies):
    """L = mean_x f(x) + log Z(θ).

    Args:
        shape: shape of one point.
        n_grid: nodes a dimension, ≥ 8; in two dimensions a step evaluates n_grid² energies.
        scale: s > 0 of the logistic map, in standardised units: half of the nodes lie within 1.1 s of the origin.

    Shapes: x [B, *shape].
    Raises: ValueError if a number is out of range, or an energy of three or more dimensions has no closed form.
    Cost: 1 energy a data row, and those of the grid.
    """

    divided = ()

    def __init__(self, shape: tuple[int, ...], n_grid: int = 32, scale: float = 1.0) -> None:
        super().__init__()
        if n_grid < 8:
            raise ValueError(f"n_grid must be >= 8, got {n_grid}")
        if scale <= 0:
            raise ValueError(f"scale must be > 0, got {scale}")
        self.shape = shape
        self.size = math.prod(shape)
        self.n_grid = n_grid
        self.scale = scale

    def validate(self, energy: Energy, batch_size: int) -> None:
        if self.size > 2 and energy.log_z() is None:
            raise ValueError(
                f"energy {type(energy).__name__} has no closed-form log Z, and a grid needs one or two dimensions, "
                f"not {self.size}: choose energy=quadratic, or another method"
            )

    def n_values(self, n_rows: int) -> float:
        return n_rows + (self.n_grid**self.size if self.size <= 2 else 0)

    def query(self, energy: Energy, x: Tensor, rng: torch.Generator) -> Query:
        log_z = energy.log_z()
        if log_z is not None:
            return Query(x, lambda value: self._loss(value.mean(), log_z, 0, len(x)))
        if self.size > 2:
            raise ValueError(
                f"energy {type(energy).__name__} has lost its closed-form log Z: its precision is not positive "
                "definite any more; lower optimizer.lr"
            )
        y, log_weight = self._nodes(x, rng)
        nodes = self.n_grid**self.size

        def from_values(value: Tensor) -> LossOutput:
            data_energy = value[: len(x)].mean()
            of_nodes = (log_weight - value[len(x) :]).logsumexp(0)
            return self._loss(data_energy, self.ranks.log_sum_exp(of_nodes) - math.log(nodes), nodes, len(x))

        return Query(torch.cat((x, y)), from_values)

    def _loss(self, data_energy: Tensor, log_z: Tensor, nodes: int, n_rows: int) -> LossOutput:
        metrics = {"log_z": log_z.detach(), "data_energy": data_energy.detach()}
        cost = Evaluations(energy=1 + nodes / (self.ranks.size * n_rows))
        return LossOutput(data_energy + log_z, metrics, evaluations=cost)

    def _nodes(self, x: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw a shift of the grid: this process's nodes [M, *shape], and −log π at them [M]."""
        ticks = torch.arange(self.n_grid, dtype=x.dtype, device=x.device)
        shift = torch.rand(self.size, 1, generator=rng, dtype=x.dtype, device=x.device)
        t = (ticks + self.ranks.broadcast_(shift)) / self.n_grid
        # A shift of exactly 0 would put a node at infinity.
        t = t.clamp(min=1e-6, max=1 - 1e-6)
        axis = self.scale * torch.log(t / (1 - t))
        minus_log_pi = math.log(self.scale) + F.softplus(axis / self.scale) + F.softplus(-axis / self.scale)
        points = torch.cartesian_prod(*axis).view(-1, *self.shape)
        weights = torch.cartesian_prod(*minus_log_pi).view(len(points), -1).sum(1)
        return self.ranks.part(points), self.ranks.part(weights)
