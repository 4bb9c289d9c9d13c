"""The smooth monotone maps that give a mixture the marginals of the rows, for all coordinates at once.

With Q_j the mixture's marginal of coordinate j, the map C_j maximises

    Σ_i log Q_j(C_j(y_ij)) + log C_j′(y_ij) − ½ λ R(C_j) − ½ min(λ, λ_e) R_e(C_j),
    R = a² + mean(θ)² + Σ (θ_{k+1} − θ_k)²,

over a and θ = log c of `SlopeSpline`, where R_e takes the first and last differences and R the others: λ draws the map
towards the identity, the ends less than the middle. λ is of each coordinate by itself the one of largest evidence, the
integral of the exponential over a and θ by Laplace's approximation (MacKay 1992, "Bayesian interpolation", eq. 4.2):
marginals that the mixture has already keep a line.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ebm_cli.densities.base import Density
from ebm_cli.densities.column_groups import grouped
from ebm_cli.densities.elliptical import EllipticalMixture
from ebm_cli.densities.slope_spline import SlopeSpline, slope_basis

N_KNOTS = 13
N_FREE = N_KNOTS - 2
"""Slopes of a coordinate."""
ROWS_BEYOND = 4
"""Rows beyond the first knot, and beyond the last."""
SHORTEST = 0.02
"""Smallest distance of two knots, in units of the distance between the quartiles."""
STIFFNESS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1e3, 1e5)
"""λ that are tried."""
END_STIFFNESS, N_ENDS = 2.0, 2
"""λ_e, and the differences at either end that it is for: tails have few rows, and their slopes are their own."""
N_STEPS = 25


class _Found(NamedTuple):
    """Parameters (a, θ) [D, L, P], their penalised likelihood [D, L], its gradient, minus its second derivatives."""

    raw: Tensor
    value: Tensor
    gradient: Tensor
    curvature: Tensor


class SlopeSplineFit:
    """The fit of C to rows [N, D], float64. Fits to other mixtures of the same rows start at the last one, and keep λ.

    Cost: 0.02 s a coordinate the first time, less after it; 256 groups of neighbouring values stand for a column.
    """

    def __init__(self, rows: Tensor) -> None:
        values, shares = grouped(rows)
        self._values = values.T.contiguous()
        self._weights = len(rows) * shares.squeeze(1)
        self._knots = _knots(rows)
        self._basis = slope_basis(self._knots)
        self._integrals, self._slopes = _at_points(self._basis, self._knots, self._values)
        middle, ends = _penalties(self._basis.shape[2])
        λ = torch.tensor(STIFFNESS, dtype=rows.dtype).view(-1, 1, 1)
        self._stiff = (λ * middle + λ.clamp_max(END_STIFFNESS) * ends).expand(len(self._knots), -1, -1, -1)
        self._raw = torch.zeros(*self._stiff.shape[:3], dtype=rows.dtype)

    def fit(self, mixture: EllipticalMixture) -> SlopeSpline:
        """The map that gives the mixture the marginals of the rows."""
        marginals = [mixture.marginal(j) for j in range(len(self._knots))]
        found = self._climb(marginals)
        best = _evidence(found, self._stiff).argmax(1).view(-1, 1, 1)
        self._raw = found.raw.gather(1, best.expand(-1, 1, found.raw.shape[2]))
        self._stiff = self._stiff.gather(1, best.unsqueeze(-1).expand(-1, 1, *self._stiff.shape[2:]))
        raw = self._raw.squeeze(1)
        pieces = torch.einsum("dpkq,dk->dpq", self._basis, raw[:, 1:].exp())
        # The identity has C(t_0) = t_0.
        pieces[..., 0] += (self._knots[:, 0] + raw[:, 0]).unsqueeze(1)
        spline = SlopeSpline(len(self._knots))
        spline.take(self._knots, pieces, self._knots)
        return spline

    def _climb(self, marginals: Sequence[Density]) -> _Found:
        """Newton's steps with the absolute values of the curvatures, damped until they gain."""
        at = self._judge(self._raw, marginals)
        damping = torch.ones_like(at.value)
        for _ in range(N_STEPS):
            bent, axes = torch.linalg.eigh(at.curvature)
            along = (axes.mT @ at.gradient.unsqueeze(-1)).squeeze(-1) / (bent.abs() + damping.unsqueeze(-1))
            step = (axes @ along.unsqueeze(-1)).squeeze(-1)
            # A step of a slope by more than a factor e tells nothing of the next.
            tried = self._judge(at.raw + step / step.norm(dim=-1, keepdim=True).clamp_min(1), marginals)
            ahead = tried.value > at.value
            gained = (tried.value - at.value)[ahead]
            at = _Found(*(_where(ahead, new, old) for new, old in zip(tried, at, strict=True)))
            damping = torch.where(ahead, damping / 5, damping * 5).clamp(1e-8, 1e12)
            if len(gained) and float(gained.max()) < 1e-3:
                break
        return at

    def _judge(self, raw: Tensor, marginals: Sequence[Density]) -> _Found:
        """The penalised likelihood at (a, θ) and its derivatives, first by a and c, then by θ = log c."""
        c, weights = raw[..., 1:].exp(), self._weights
        z = self._knots[:, None, :1] + raw[..., :1] + c @ self._integrals.mT
        slope = c @ self._slopes.mT
        log_q, first, second = _differentials(marginals, z)
        shrunk = (self._stiff @ raw.unsqueeze(-1)).squeeze(-1)
        value = ((log_q + slope.log()) * weights).sum(-1) - 0.5 * (shrunk * raw).sum(-1)
        one = torch.ones_like(self._integrals[..., :1])
        moves, bends = torch.cat((one, self._integrals), -1), torch.cat((0 * one, self._slopes), -1)
        by = torch.cat((torch.ones_like(raw[..., :1]), c), -1)
        gradient = by * ((weights * first) @ moves + (weights / slope) @ bends)
        hessian = torch.einsum("dlg,dgp,dgq->dlpq", weights * second, moves, moves)
        hessian = hessian - torch.einsum("dlg,dgp,dgq->dlpq", weights / slope.square(), bends, bends)
        hessian = by.unsqueeze(-1) * hessian * by.unsqueeze(-2)
        curved = torch.cat((torch.zeros_like(gradient[..., :1]), gradient[..., 1:]), -1)
        return _Found(raw, value, gradient - shrunk, self._stiff - hessian - curved.diag_embed())


def _evidence(found: _Found, stiff: Tensor) -> Tensor:
    """Logarithm of the integral over (a, θ), up to a constant [D, L]; a saddle counts as undetermined."""
    bent = torch.linalg.eigvalsh(found.curvature)
    log_det = torch.where(bent > 0, bent, 1e12).log().sum(-1)
    return found.value + 0.5 * torch.logdet(stiff) - 0.5 * log_det


def _knots(rows: Tensor) -> Tensor:
    """Quantiles evenly spaced in the logit of the rank [D, N_KNOTS], at least SHORTEST apart."""
    n = len(rows)
    end = math.log(max(n / ROWS_BEYOND - 1, 2.0))
    ranks = ((n - 1) * torch.linspace(-end, end, N_KNOTS).sigmoid()).round().long()
    ordered = rows.sort(0).values
    knots = ordered[ranks].T
    least = SHORTEST * (ordered[(3 * n) // 4] - ordered[n // 4]).clamp_min(1e-6)
    steps = torch.maximum(knots.diff(dim=1), least.unsqueeze(1))
    # Knots that are moved apart stay around the median.
    at = torch.cat((torch.zeros_like(knots[:, :1]), steps.cumsum(1)), 1)
    middle = slice(N_KNOTS // 2, N_KNOTS // 2 + 1)
    return (at - at[:, middle] + knots[:, middle]).contiguous()


def _at_points(basis: Tensor, knots: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """∫ B_k and B_k at values [D, G]: [D, G, P − 1] each."""
    at = torch.searchsorted(knots, values, right=True)
    piece = basis.gather(1, at[..., None, None].expand(-1, -1, *basis.shape[2:]))
    h = (values - knots.gather(1, (at - 1).clamp_min(0))).unsqueeze(2)
    power = torch.arange(5).to(h)
    integral = (piece * h.unsqueeze(-1) ** power).sum(-1)
    slope = (piece[..., 1:] * power[1:] * h.unsqueeze(-1) ** power[:-1]).sum(-1)
    return integral, slope


def _penalties(n_free: int) -> tuple[Tensor, Tensor]:
    """R and R_e as matrices of (a, θ) [P, P]."""
    differences = torch.eye(n_free, dtype=torch.float64).diff(dim=0)
    inner, outer = differences[N_ENDS:-N_ENDS], torch.cat((differences[:N_ENDS], differences[-N_ENDS:]))
    middle, ends = torch.zeros(2, n_free + 1, n_free + 1, dtype=torch.float64)
    middle[0, 0] = 1.0
    middle[1:, 1:] = inner.T @ inner + 1 / n_free**2
    ends[1:, 1:] = outer.T @ outer
    return middle, ends


def _differentials(marginals: Sequence[Density], z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The log-density of each marginal at its own z [D, L, G], and two derivatives."""
    one = torch.ones(1, 1, 1, dtype=z.dtype)
    found = [q.differentials(at.reshape(-1, 1), one) for q, at in zip(marginals, z, strict=True)]
    columns = zip(*((part.value, part.gradient, part.second) for part in found), strict=True)
    value, first, second = (torch.stack([part for part in column if part is not None]).view_as(z) for column in columns)
    return value, first, second


def _where(ahead: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(ahead.view(*ahead.shape, *[1] * (new.dim() - 2)), new, old)
