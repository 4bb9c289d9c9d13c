"""log Z by adaptive quadrature, in one and two dimensions.

    Z = ∫ exp(−f(u)) du ≈ Σ_c Σ_i w_ci exp(−f(u_ci)),        u in the units in which the energy lives

over cells c of a grid (`quadrature_grid`) and the Gauss–Legendre nodes i in each. A cell is split in halves (quarters)
while the decay of the integrand's Legendre coefficients in it predicts too large an error, so narrow peaks cost nodes
only where they are. A peak between the nodes of the first grid is missed: one far out and much narrower than the
spacing there, which is a twentieth of its distance from the data.

Source: Davis & Rabinowitz (1984), Methods of Numerical Integration, §6: adaptive Gauss rules.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ebm_cli.evaluation.batched import in_chunks, placement
from ebm_cli.evaluation.not_integrable import NotIntegrable
from ebm_cli.evaluation.quadrature_grid import NODES, Grid, Resolution, cartesian, legendre_transform

BORDER = 1e-6  # the box is the smallest that leaves less than this share of Z outside
UNRESOLVED = 1e-2  # relative error estimate beyond which there is no result


@dataclass(frozen=True)
class Quadrature:
    """The integral of exp(−f), with the cells and energies that it was summed from.

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
        is_heavy = torch.empty_like(masses, dtype=torch.bool)
        light_first = masses.argsort()
        is_heavy[light_first] = masses[light_first].cumsum(0) > dropped
        return self.grid.nodes().flatten(0, 1)[is_heavy], masses[is_heavy]


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
        grid: the first cells: `Grid.around` the data, or the grid of an earlier integral.
        resolution: error at which cells are no longer split, and the most nodes.
        shape: shape of one point, with one or two elements.
        dtype, device: where the energy computes; by default those of its parameters. Sums are in float64.

    Raises:
        NotIntegrable: f is NaN or −∞ somewhere, too much mass lies in the outermost shell, or `max_nodes` did not
            resolve exp(−f).

    Cost: one evaluation of f a node.
    """
    where = placement(energy)
    dtype, device = dtype or where[0], device or where[1]
    found = _refine(partial(_energies, energy, shape, dtype, device), grid, resolution, _rounding(dtype))
    k, outside = _enclosing_box(found)
    error = float(found.error.sum())
    if error > UNRESOLVED:
        raise NotIntegrable(f"exp(-energy) is not resolved by {found.f.numel()} nodes: relative error {error:.2g}")
    return Quadrature(found.grid, found.f, float(found.log_z), outside, found.grid.core * 2**k, error)


class _Refined(NamedTuple):
    """Cells, energies at their nodes [C, Q], log Z (scalar) and the estimated error of each cell [C], shares of Z."""

    grid: Grid
    f: Tensor
    log_z: Tensor
    error: Tensor


def _energies(
    energy: Callable[[Tensor], Tensor], shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, cells: Grid
) -> Tensor:
    """f at the nodes of the cells [C, Q], float64; NotIntegrable where it is NaN or −∞."""
    u = cells.nodes()
    f = in_chunks(lambda rows: energy(rows.to(device, dtype)), u.reshape(-1, *shape)).view(u.shape[:2])
    bad = f.isnan() | (f == -math.inf)
    if bad.any():
        point = [round(v, 3) for v in u[bad][0].tolist()]
        raise NotIntegrable(f"the energy is {f[bad][0].item()} at u = {point}")
    return f


def _refine(evaluate: Callable[[Grid], Tensor], grid: Grid, resolution: Resolution, rounding: float) -> _Refined:
    """Split cells until each one's error is below the tolerance, or until there would be too many nodes."""
    f = evaluate(grid)
    if bool((f == math.inf).all()):
        raise NotIntegrable("the energy is infinite everywhere")
    while True:
        log_z = torch.logsumexp((grid.log_weights() - f).flatten(), 0)
        error = _cell_errors(grid, f, float(log_z), rounding)
        coarse = error > resolution.tolerance
        n_new = int(coarse.sum()) * f.shape[1] * 2 ** len(grid.origin)
        if not bool(coarse.any()) or f.numel() + n_new > resolution.max_nodes:
            return _Refined(grid, f, log_z, error)
        children = grid.take(coarse).split()
        f = torch.cat([f[~coarse], evaluate(children)])
        grid = grid.take(~coarse).join(children)


def _enclosing_box(found: _Refined) -> tuple[int, float]:
    """The number k of the smallest box, of half-width 2^k core, that holds all but BORDER of Z; the share outside it.

    Raises:
        NotIntegrable: it is the largest box: exp(−f) has more mass further out.
    """
    grid, f, log_z, _ = found
    share = (grid.log_weights() - f - log_z).exp().sum(1)
    of_ring = torch.zeros(grid.n_shells + 1, dtype=torch.float64).index_add_(0, grid.ring(), share)
    outside = torch.cat([of_ring.flip(0).cumsum(0).flip(0)[1:], torch.zeros(1, dtype=torch.float64)])
    k = int((outside < BORDER).nonzero()[0])
    if k == grid.n_shells:
        reach = grid.core * 2 ** (grid.n_shells - 1)
        raise NotIntegrable(f"exp(-energy) is not integrable: {outside[-2]:.3g} of its mass lies beyond ±{reach:.3g}")
    return k, float(outside[k])


def _cell_errors(grid: Grid, f: Tensor, log_z: float, rounding: float) -> Tensor:
    """Estimated error of each cell's integral, as a share of Z [C].

    With t the largest Legendre coefficient of the two highest degrees and m the largest of any degree but 0, a
    geometric decay of the coefficients leaves a Gauss rule, exact to twice that degree, an error of volume · t²/m.
    """
    dim = len(grid.origin)
    value = (-f - log_z).exp().view(-1, *[NODES] * dim)
    transform = legendre_transform()
    coefficient = torch.tensordot(value, transform, dims=([1], [1]))
    if dim == 2:
        coefficient = torch.tensordot(coefficient, transform, dims=([1], [1]))
    degree = cartesian(torch.arange(NODES), dim).amax(1)
    coefficient = coefficient.abs().flatten(1)
    tail = coefficient[:, degree >= NODES - 2].amax(1)
    # Rounding in the energy leaves a floor under all coefficients that no splitting removes.
    tail = (tail - rounding * coefficient.amax(1)).clamp(min=0)
    varying = coefficient[:, degree > 0].amax(1).clamp(min=torch.finfo(torch.float64).tiny)
    errors: Tensor = (2 * grid.half) ** dim * tail * tail / varying
    return errors


def _rounding(dtype: torch.dtype) -> float:
    """Relative rounding error of exp(−f) for an energy in this dtype."""
    return 1e-5 if torch.finfo(dtype).bits < 64 else 1e-13
