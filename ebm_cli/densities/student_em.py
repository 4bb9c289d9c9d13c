"""Maximum likelihood of a mixture of Student's t distributions, by expectation maximisation.

A t variate is a normal one of random precision u ~ Gamma(ν/2, ν/2). With shares r_ik of the components and expected
precisions

    u_ik = (ν_k + D) / (ν_k + s_ik),    s_ik = (x_i − m_k)ᵀ S_k⁻¹ (x_i − m_k),

a step is w_k = mean_i r_ik, m_k = Σ_i r u x / Σ_i r u, S_k = Σ_i r u (x − m_k)(x − m_k)ᵀ / Σ_i r u, and ν_k solves

    log(ν/2) − ψ(ν/2) + 1 + Σ_i r (log u − u) / Σ_i r + ψ((ν_k + D)/2) − log((ν_k + D)/2) = 0.

Rows far out have small precisions, so that outliers do not widen a component. Sources: Peel & McLachlan (2000), "Robust
mixture modelling using the t distribution", eq. 19–25; the divisor Σ r u of S_k, which takes fewer steps to the same
maximum: Kent, Tyler & Vardi (1994).
"""

import math
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from ebm_cli.densities.student import log_t_at_mode

FEWEST_DOF, MOST_DOF = 1.5, 200.0
"""Bounds of ν: below, a component's mean is of no use; above, it is normal."""
FIRST_DOF = 10.0
ROUNDING = 1e-10
"""Part of each variance that is added to it: the rounding of a product of collinear columns of large values."""
CHUNK = 100_000
"""Numbers of a chunk of rows, all components together."""


class StudentFit(NamedTuple):
    """Weights [K], means [K, D], scatter matrices [K, D, D], degrees of freedom [K]; mean log-likelihood of each step.

    The first log-likelihood is that of the start.
    """

    weights: Tensor
    means: Tensor
    scatters: Tensor
    dof: Tensor
    log_likelihoods: list[float]


def student_em(
    rows: Tensor,
    start: StudentFit,
    n_steps: int = 100,
    tolerance: float = 1e-5,
    ridge: float = 1e-6,
) -> StudentFit:
    """Fit a mixture of t distributions to rows [N, D], float64; of normal ones, if all ν are ∞ at the start.

    Args:
        rows: the rows, of comparable scales.
        start: where the fit begins.
        n_steps: most steps, ≥ 1.
        tolerance: the fit ends when a step gains less log-likelihood than this, nats a row.
        ridge: added to the diagonals of the scatter matrices, ≥ 0, in squared units of the rows.

    Cost: n_steps · N · K · D² operations.
    """
    weights, means, scatters, dof, trace = start
    trace = list(trace)
    columns = rows.T.contiguous()
    eye = ridge * torch.eye(len(columns), dtype=rows.dtype)
    for _ in range(n_steps):
        factors = torch.linalg.cholesky(scatters)
        sums = _sums(columns, weights, means, factors, dof)
        trace.append(float(sums.log_likelihood) / len(rows))
        if len(trace) > 1 and trace[-1] - trace[-2] < tolerance:
            break
        mass, total = sums.share.clamp_min(1e-12), sums.pull.clamp_min(1e-12)
        moved = sums.first / total.unsqueeze(1)
        spread = sums.second / total[:, None, None] - moved.unsqueeze(2) * moved.unsqueeze(1)
        scatters = factors @ spread @ factors.mT
        scatters = scatters + eye + torch.diag_embed(ROUNDING * scatters.diagonal(dim1=1, dim2=2))
        means = means + (factors @ moved.unsqueeze(2)).squeeze(2)
        weights = mass / mass.sum()
        if not dof.isinf().all():
            dof = _dof(dof, len(columns), sums.surplus / mass)
    return StudentFit(weights, means, scatters, dof, trace)


class _Sums(NamedTuple):
    """Sums over rows that a step is made of; z_k = L_k⁻¹ (x − m_k), L_k L_kᵀ = S_k.

    Σ log q [], Σ r [K], Σ r u [K], Σ r u z [K, D], Σ r u z zᵀ [K, D, D], Σ r (log u − u) [K].
    """

    log_likelihood: Tensor
    share: Tensor
    pull: Tensor
    first: Tensor
    second: Tensor
    surplus: Tensor


def _sums(columns: Tensor, weights: Tensor, means: Tensor, factors: Tensor, dof: Tensor) -> _Sums:
    """Add up over the rows, columns [D, N], in chunks that stay in a processor's cache."""
    k, size = means.shape
    eye = torch.eye(size, dtype=columns.dtype).expand_as(factors)
    whiten = torch.linalg.solve_triangular(factors, eye, upper=False)
    offsets = (whiten @ means.unsqueeze(2)).view(-1, 1)
    constant = weights.log() + log_t_at_mode(dof, size) - factors.diagonal(dim1=1, dim2=2).log().sum(1)
    normal, rate = bool(dof.isinf().all()), (1 / dof).unsqueeze(1)
    parts = []
    for x in columns.split(max(CHUNK // (k * size), 64), 1):
        z = torch.addmm(-offsets, whiten.flatten(0, 1), x).view(k, size, -1)
        s = z.square().sum(1)
        log_damped = None if normal else (rate * s).log1p()
        log_h = -0.5 * s if log_damped is None else -0.5 * (dof + size).unsqueeze(1) * log_damped
        log_terms = constant.unsqueeze(1) + log_h
        log_q = log_terms.logsumexp(0)
        share = (log_terms - log_q).exp()
        if log_damped is None:
            pull, surplus = share, -share.sum(1)
        else:
            # u = (ν + D) / (ν + s) = (1 + D/ν) / (1 + s/ν).
            log_precision = (rate * size).log1p() - log_damped
            precision = log_precision.exp()
            pull = share * precision
            surplus = (share * (log_precision - precision)).sum(1)
        pulled = pull.unsqueeze(1) * z
        parts.append(_Sums(log_q.sum(), share.sum(1), pull.sum(1), pulled.sum(2), pulled @ z.mT, surplus))
    return _Sums(*(torch.stack(part).sum(0) for part in zip(*parts, strict=True)))


def _dof(before: Tensor, size: int, surplus: Tensor) -> Tensor:
    """Solve the equation of ν between its bounds, in a table of log(ν/2) − ψ(ν/2), which falls in ν: [K] → [K]."""
    half = 0.5 * (before + size)
    wanted = -(1 + surplus + half.digamma() - half.log())
    log_dof, falling = _table()
    # A table that rises is searched: the negative one.
    after = torch.searchsorted(-falling, -wanted).clamp(1, len(falling) - 1)
    low, high = falling[after], falling[after - 1]
    part = ((high - wanted) / (high - low)).clamp(0, 1)
    return torch.lerp(log_dof[after - 1], log_dof[after], part).exp()


@cache
def _table() -> tuple[Tensor, Tensor]:
    """log ν between its bounds, and log(ν/2) − ψ(ν/2) there."""
    log_dof = torch.linspace(math.log(FEWEST_DOF), math.log(MOST_DOF), 4096, dtype=torch.float64)
    half = 0.5 * log_dof.exp()
    return log_dof, half.log() - half.digamma()
