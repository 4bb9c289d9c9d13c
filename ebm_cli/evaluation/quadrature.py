"""log Z by adaptive quadrature, in one and two dimensions.

    Z = ∫ exp(−f(u)) du ≈ Σ_c Σ_i w_ci exp(−f(u_ci)),        u in the units in which the energy lives

The plane is cut into square cells, each with a tensor Gauss–Legendre rule of 8 nodes a side. A core of small cells
covers the data; around it lie shells, each twice as wide as what it surrounds, out to ±REACH. All shells are always
summed: an energy may keep mass far from the data, beyond a gap in which there is none, where no box widened step by
step finds it. A cell is split in halves (quarters) while the decay of the integrand's Legendre coefficients in it
promises too large an error, so narrow peaks cost nodes only where they are. What the first nodes do not see at all
stays unseen: a peak far out and much narrower than the spacing there, a twentieth of its distance from the data.

Source: Davis & Rabinowitz (1984), Methods of Numerical Integration, §2.7 and §6: composite and adaptive Gauss rules.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from ebm_cli.evaluation.batched import in_chunks, placement

NODES = 8  # Gauss–Legendre nodes along the side of a cell: exact for polynomials of degree 15
REACH = 1000.0  # half-width that the shells cover at least, standardised units
BORDER = 1e-6  # the box is the smallest that leaves less than this share of Z outside
UNRESOLVED = 1e-2  # relative error estimate beyond which there is no result


class NotIntegrable(Exception):
    """There is no number for log Z; the message says why."""


@dataclass(frozen=True)
class Resolution:
    """How finely to integrate.

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


FINE = Resolution(core=24, shell=12, tolerance=1e-9, max_nodes=2_000_000)
"""The final evaluation's: log Z of smooth energies to better than 1e-8."""
COARSE = Resolution(core=12, shell=4, tolerance=1e-6, max_nodes=200_000)
"""A periodic evaluation's, during training: to better than 1e-5."""


@dataclass(frozen=True)
class Grid:
    """Cells that tile a box: a core and dyadic shells around it.

    Attributes:
        centre: [C, d].
        half: half-width of each cell [C].
        origin: centre of the box [d].
        core: half-width of the core; the k-th box has half-width 2^k core.
        n_shells: how many shells there are.
    """

    centre: Tensor
    half: Tensor
    origin: Tensor
    core: float
    n_shells: int

    @staticmethod
    def around(points: Tensor, resolution: Resolution) -> "Grid":
        """A core that covers the points [N, d], d ≤ 2, with a margin, and shells out to ±REACH."""
        points = points.double()
        low, high = points.amin(0), points.amax(0)
        origin, core = (low + high) / 2, max(float((high - low).max()) / 2 * 1.15, 1e-6)
        n_shells = max(1, math.ceil(math.log2(REACH / core)))
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
        """Which ring each cell lies in [C]: 0 is the core, k the shell between box k − 1 and box k."""
        distance = (self.centre - self.origin).abs().amax(1) / self.core
        return distance.log2().ceil().clamp(min=0).long()

    def take(self, which: Tensor) -> "Grid":
        """The cells that a mask [C] or index selects."""
        return Grid(self.centre[which], self.half[which], self.origin, self.core, self.n_shells)

    def split(self) -> "Grid":
        """Every cell cut into 2^d equal ones."""
        corners = _cartesian(torch.tensor([-0.5, 0.5], dtype=torch.float64), self.centre.shape[1])
        centre = (self.centre[:, None] + self.half[:, None, None] * corners).flatten(0, 1)
        half = (self.half / 2).repeat_interleave(len(corners))
        return Grid(centre, half, self.origin, self.core, self.n_shells)


@dataclass(frozen=True)
class Quadrature:
    """The integral of exp(−f), and what it was made of.

    Attributes:
        grid: the cells after splitting.
        energy: f at the nodes [C, Q], float64, nats.
        log_z: log ∫ exp(−f(u)) du, nats.
        border_mass: share of Z outside the box, < BORDER.
        box: half-width of the box, around `grid.origin`.
        error: estimated relative error of Z.
    """

    grid: Grid
    energy: Tensor
    log_z: float
    border_mass: float
    box: float
    error: float

    def masses(self) -> Tensor:
        """Probability that each node stands for [C, Q]; they sum to one."""
        return (self.grid.log_weights() - self.energy - self.log_z).exp()

    def heaviest(self, dropped: float) -> tuple[Tensor, Tensor]:
        """The nodes [N, d] that together hold all but `dropped` of the probability, and their masses [N]."""
        masses = self.masses().flatten()
        kept = torch.empty_like(masses, dtype=torch.bool)
        light_first = masses.argsort()
        kept[light_first] = masses[light_first].cumsum(0) > dropped
        return self.grid.nodes().flatten(0, 1)[kept], masses[kept]


@torch.no_grad()
def integrate(
    energy: Callable[[Tensor], Tensor],
    grid: Grid,
    resolution: Resolution,
    shape: tuple[int, ...],
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
) -> Quadrature:
    """log ∫ exp(−f(u)) du over a grid that is refined where exp(−f) needs it.

    Args:
        energy: f, [B, *shape] → [B], nats.
        grid: where to start: `Grid.around` the data, or the grid of an integral already made.
        shape: shape of one point, with one or two elements.
        dtype, device: where the energy computes; by default those of its parameters. Sums are in float64.

    Raises:
        NotIntegrable: f is NaN or −∞ somewhere, too much mass lies in the outermost shell, or `max_nodes` did not
            resolve exp(−f).

    Cost: one evaluation of f a node.
    """
    where = placement(energy)
    dtype, device = dtype or where[0], device or where[1]
    noise = 1e-5 if torch.finfo(dtype).bits < 64 else 1e-13

    def evaluate(cells: Grid) -> Tensor:
        u = cells.nodes()
        f = in_chunks(lambda rows: energy(rows.to(device, dtype)), u.reshape(-1, *shape)).view(u.shape[:2])
        bad = f.isnan() | (f == -math.inf)
        if bad.any():
            point = [round(v, 3) for v in u[bad][0].tolist()]
            raise NotIntegrable(f"the energy is {f[bad][0].item()} at u = {point}")
        return f

    f = evaluate(grid)
    if bool((f == math.inf).all()):
        raise NotIntegrable("the energy is infinite everywhere")
    while True:
        log_z = torch.logsumexp((grid.log_weights() - f).flatten(), 0)
        error = _cell_errors(grid, f, float(log_z), noise)
        wanted = error > resolution.tolerance
        if (
            not bool(wanted.any())
            or f.numel() + int(wanted.sum()) * f.shape[1] * 2 ** len(grid.origin) > resolution.max_nodes
        ):
            break
        children = grid.take(wanted).split()
        kept = grid.take(~wanted)
        f = torch.cat([f[~wanted], evaluate(children)])
        grid = Grid(
            torch.cat([kept.centre, children.centre]),
            torch.cat([kept.half, children.half]),
            grid.origin,
            grid.core,
            grid.n_shells,
        )

    share = (grid.log_weights() - f - log_z).exp().sum(1)
    outside = (
        torch.zeros(grid.n_shells + 1, dtype=torch.float64).index_add_(0, grid.ring(), share).flip(0).cumsum(0).flip(0)
    )
    outside = torch.cat([outside[1:], torch.zeros(1, dtype=torch.float64)])
    settled = int((outside < BORDER).nonzero()[0])
    if settled == grid.n_shells:
        reach = grid.core * 2 ** (grid.n_shells - 1)
        raise NotIntegrable(f"exp(-energy) is not integrable: {outside[-2]:.3g} of its mass lies beyond ±{reach:.3g}")
    if float(error.sum()) > UNRESOLVED:
        raise NotIntegrable(
            f"exp(-energy) is not resolved by {f.numel()} nodes: relative error {float(error.sum()):.2g}"
        )
    box = grid.core * 2**settled
    return Quadrature(grid, f, float(log_z), float(outside[settled]), box, float(error.sum()))


def _cell_errors(grid: Grid, f: Tensor, log_z: float, noise: float) -> Tensor:
    """Estimated error of each cell's integral, as a share of Z [C].

    With t the largest Legendre coefficient of the two highest degrees and m the largest of any degree but 0, a
    geometric decay of the coefficients leaves a Gauss rule, exact to twice that degree, an error of volume · t²/m.
    """
    dim = len(grid.origin)
    value = (-f - log_z).exp().view(-1, *[NODES] * dim)
    transform = _legendre_transform()
    coefficient = torch.tensordot(value, transform, dims=([1], [1]))
    if dim == 2:
        coefficient = torch.tensordot(coefficient, transform, dims=([1], [1]))
    degree = _cartesian(torch.arange(NODES), dim).amax(1)
    coefficient = coefficient.abs().flatten(1)
    tail = coefficient[:, degree >= NODES - 2].amax(1)
    # Rounding in the energy leaves a floor under all coefficients that no splitting removes.
    tail = (tail - noise * coefficient.amax(1)).clamp(min=0)
    varying = coefficient[:, degree > 0].amax(1).clamp(min=torch.finfo(torch.float64).tiny)
    errors: Tensor = (2 * grid.half) ** dim * tail * tail / varying
    return errors


@cache
def _legendre() -> tuple[Tensor, Tensor]:
    x, w = np.polynomial.legendre.leggauss(NODES)
    return torch.from_numpy(x), torch.from_numpy(w)


@cache
def _legendre_transform() -> Tensor:
    """T [degree, node]: values at the nodes → Legendre coefficients, c_k = (2k + 1)/2 Σ_i w_i P_k(x_i) v_i."""
    x, w = np.polynomial.legendre.leggauss(NODES)
    k = np.arange(NODES)
    return torch.from_numpy((2 * k[:, None] + 1) / 2 * np.polynomial.legendre.legvander(x, NODES - 1).T * w)


@cache
def _rule(dim: int) -> tuple[Tensor, Tensor]:
    """Nodes [Q, d] and weights [Q] on [−1, 1]^d."""
    x, w = _legendre()
    return _cartesian(x, dim), _cartesian(w, dim).prod(1)


def _cartesian(values: Tensor, dim: int) -> Tensor:
    return torch.cartesian_prod(*[values] * dim).reshape(-1, dim)


def _square(n: int, half: float, dim: int) -> tuple[Tensor, Tensor]:
    """n^d equal cells on [−half, half]^d: centres and half-widths."""
    side = (torch.arange(n, dtype=torch.float64) + 0.5) * (2 * half / n) - half
    centre = _cartesian(side, dim)
    return centre, torch.full((len(centre),), half / n, dtype=torch.float64)
