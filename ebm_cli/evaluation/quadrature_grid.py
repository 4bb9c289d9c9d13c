"""The cells of a quadrature in one and two dimensions: a fine core over the data, and wider shells around it.

The plane is cut into square cells, each with a tensor Gauss–Legendre rule of 8 nodes a side. A core of small cells
covers the data; around it lie shells, each twice as wide as what it surrounds, out to ±OUTER_REACH. All shells are
always summed: an energy may keep mass far from the data, beyond an empty gap, where a box that is widened step by step
does not find it.

Source: Davis & Rabinowitz (1984), Methods of Numerical Integration, §2.7: composite Gauss rules.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

NODES = 8  # Gauss–Legendre nodes along the side of a cell: exact for polynomials of degree 15
OUTER_REACH = 1000.0  # half-width that the shells cover at least, standardised units


@dataclass(frozen=True)
class Resolution:
    """The number of cells that an integral starts with, and the error at which it stops splitting them.

    Args:
        core: cells along the side of the core, which covers the data.
        shell: cells along the outer side of each shell, a multiple of 4.
        tolerance: error allowed in one cell, as a share of Z.
        max_nodes: stop splitting at this many nodes.
    """

    core: int
    shell: int
    tolerance: float
    max_nodes: int

    def __post_init__(self) -> None:
        if self.core < 1:
            raise ValueError(f"core must be >= 1, got {self.core}")
        if self.shell < 4 or self.shell % 4:
            raise ValueError(f"shell must be a multiple of 4, got {self.shell}")
        if not 0 < self.tolerance < 1:
            raise ValueError(f"tolerance must be in (0, 1), got {self.tolerance}")
        if self.max_nodes < 1:
            raise ValueError(f"max_nodes must be >= 1, got {self.max_nodes}")


FINE_GRID = Resolution(core=24, shell=12, tolerance=1e-9, max_nodes=2_000_000)
"""The resolution of the final evaluation: log Z of smooth energies to better than 1e-8."""
COARSE_GRID = Resolution(core=12, shell=4, tolerance=1e-6, max_nodes=200_000)
"""The resolution of evaluations during training: log Z to better than 1e-5."""


@dataclass(frozen=True)
class Grid:
    """Cells that tile a box: a core and dyadic shells around it.

    Attributes:
        centre: [C, d].
        half: half-width of each cell [C].
        origin: centre of the box [d].
        core: half-width of the core; the k-th box has half-width 2^k core.
        n_shells: number of shells.
    """

    centre: Tensor
    half: Tensor
    origin: Tensor
    core: float
    n_shells: int

    @staticmethod
    def around(points: Tensor, resolution: Resolution) -> "Grid":
        """Cover the points [N, d], d ≤ 2, with a core that has a margin, and the plane to ±OUTER_REACH with shells."""
        points = points.double()
        low, high = points.amin(0), points.amax(0)
        origin, core = (low + high) / 2, max(float((high - low).max()) / 2 * 1.15, 1e-6)
        n_shells = max(1, math.ceil(math.log2(OUTER_REACH / core)))
        blocks = [_square(resolution.core, core, points.shape[1])]
        for k in range(1, n_shells + 1):
            centre, half = _square(resolution.shell, core * 2**k, points.shape[1])
            ring = centre.abs().amax(1) > core * 2 ** (k - 1)
            blocks.append((centre[ring], half[ring]))
        return Grid(
            torch.cat([c for c, _ in blocks]) + origin, torch.cat([h for _, h in blocks]), origin, core, n_shells
        )

    def nodes(self) -> Tensor:
        """u [C, Q, d], Q = NODES^d."""
        offsets, _ = _rule(self.centre.shape[1])
        return self.centre[:, None] + self.half[:, None, None] * offsets

    def log_weights(self) -> Tensor:
        """log w [C, Q], with Σ w = volume of the box."""
        _, weights = _rule(self.centre.shape[1])
        return self.centre.shape[1] * self.half.log()[:, None] + weights.log()

    def ring(self) -> Tensor:
        """The ring of each cell [C]: 0 is the core, k the shell between box k − 1 and box k."""
        distance = (self.centre - self.origin).abs().amax(1) / self.core
        return distance.log2().ceil().clamp(min=0).long()

    def take(self, which: Tensor) -> "Grid":
        """The cells that a mask [C] or index selects."""
        return Grid(self.centre[which], self.half[which], self.origin, self.core, self.n_shells)

    def join(self, other: "Grid") -> "Grid":
        """The cells of both grids of one box, those of this one first."""
        centre, half = torch.cat([self.centre, other.centre]), torch.cat([self.half, other.half])
        return Grid(centre, half, self.origin, self.core, self.n_shells)

    def split(self) -> "Grid":
        """Every cell cut into 2^d equal ones."""
        corners = cartesian(torch.tensor([-0.5, 0.5], dtype=torch.float64), self.centre.shape[1])
        centre = (self.centre[:, None] + self.half[:, None, None] * corners).flatten(0, 1)
        half = (self.half / 2).repeat_interleave(len(corners))
        return Grid(centre, half, self.origin, self.core, self.n_shells)


@cache
def legendre_transform() -> Tensor:
    """T [degree, node]: values at the nodes → Legendre coefficients, c_k = (2k + 1)/2 Σ_i w_i P_k(x_i) v_i."""
    x, w = np.polynomial.legendre.leggauss(NODES)
    k = np.arange(NODES)
    return torch.from_numpy((2 * k[:, None] + 1) / 2 * np.polynomial.legendre.legvander(x, NODES - 1).T * w)


def cartesian(values: Tensor, dim: int) -> Tensor:
    """Every combination of `dim` of the values: [n] → [n^dim, dim]."""
    return torch.cartesian_prod(*[values] * dim).reshape(-1, dim)


@cache
def _legendre() -> tuple[Tensor, Tensor]:
    x, w = np.polynomial.legendre.leggauss(NODES)
    return torch.from_numpy(x), torch.from_numpy(w)


@cache
def _rule(dim: int) -> tuple[Tensor, Tensor]:
    """Nodes [Q, d] and weights [Q] on [−1, 1]^d."""
    x, w = _legendre()
    return cartesian(x, dim), cartesian(w, dim).prod(1)


def _square(n: int, half: float, dim: int) -> tuple[Tensor, Tensor]:
    """n^d equal cells on [−half, half]^d: centres and half-widths."""
    side = (torch.arange(n, dtype=torch.float64) + 0.5) * (2 * half / n) - half
    centre = cartesian(side, dim)
    return centre, torch.full((len(centre),), half / n, dtype=torch.float64)
