"""Sums of Gaussians over nodes: mixtures, and one-dimensional integrals by quadrature.

A mixture's density and a blurred curve's are the same sum,

    p(x) = Σ_i w_i N(x; c_i, diag s_i²),      log p(x) = logsumexp_i ( log w_i + log N(x; c_i, diag s_i²) ),

over components in the first case, over the nodes of a quadrature rule in the second. The sum stays in logarithms, so
that the far tails are right too, and is taken chunk by chunk of x, so that its [B, nodes] table stays in the cache.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import final

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ebm_cli.system.chunks import in_chunks

CHUNK_NUMBERS = 2**18
"""Entries of the table [rows, nodes] that is held at a time: 1 MB in float32, so that it stays in the cache."""

KEPT_NUMBERS = 2**21
"""Table entries that are kept for a backward pass, at most: about 50 MB in float32 with all that autograd saves."""

NEGLIGIBLE = -60.0
"""Lower bound of a term's logarithm relative to the largest: tiny terms are subnormal, ten times slower to add."""


def table_in_chunks(f: Callable[[Tensor], Tensor], x: Tensor, n_nodes: int) -> Tensor:
    """Compute f(x) for a row-wise f that builds a table [B, n_nodes], a few rows at a time.

    If the tables together are too large to keep for a gradient, the backward pass recomputes each chunk's table.
    """
    rows = max(1, CHUNK_NUMBERS // n_nodes)
    is_large = x.shape[0] > rows and x.shape[0] * n_nodes > KEPT_NUMBERS
    if is_large and torch.is_grad_enabled() and x.requires_grad:
        recomputed = partial(checkpoint, f, use_reentrant=False, preserve_rng_state=False)
        return in_chunks(recomputed, x, rows)
    return in_chunks(f, x, rows)


def log_sum_exp(terms: Tensor) -> Tensor:
    """Compute log Σ_i exp(terms_i): terms [B, M] → [B]."""
    top = terms.detach().amax(1, keepdim=True)
    return (terms - top).clamp(min=NEGLIGIBLE).exp().sum(1).log() + top.squeeze(1)


def gauss_legendre(low: float, high: float, n: int) -> tuple[Tensor, Tensor]:
    """Nodes [n] and weights [n], float64, exact on [low, high] for polynomials of degree 2n − 1.

    O(n²), where numpy's eigenvalue problem is O(n³): half a second instead of minutes for n = 5,000.
    """
    k = torch.arange(n, 0, -1, dtype=torch.float64)
    t = torch.cos(math.pi * (k - 0.25) / (n + 0.5))
    # Newton's method on P_n converges quadratically from a start with error O(n⁻²): 5 rounds reach rounding error.
    for _ in range(5):
        p, before = t, torch.ones_like(t)
        for j in range(2, n + 1):
            p, before = ((2 * j - 1) * t * p - (j - 1) * before) / j, p
        slope = n * (t * p - before) / (t * t - 1.0)
        t = t - p / slope
    half = 0.5 * (high - low)
    return low + half * (t + 1.0), half * 2.0 / ((1.0 - t * t) * slope * slope)


@final
class GaussianSum(nn.Module):
    """p(x) = Σ_i w_i N(x; c_i, diag s_i²) on R^D.

    Args:
        centres: c [M, D].
        stds: s [M, D] or [M, 1], > 0.
        weights: w [M], ≥ 0; they are normalised to sum 1.
        n_groups: number of groups of M / n_groups consecutive nodes each, one group a mode.

    Cost: B · M · D operations; a [B, M] table, no [B, M, D] table.
    """

    centres: Tensor
    precisions: Tensor
    log_weights: Tensor

    def __init__(self, centres: Tensor, stds: Tensor, weights: Tensor, n_groups: int) -> None:
        super().__init__()
        dim = centres.shape[1]
        s = stds.double().expand(-1, dim)
        w = weights.double()
        log_norm = s.log().sum(1) + 0.5 * dim * math.log(2.0 * math.pi)
        dtype = torch.get_default_dtype()
        self.n_groups = n_groups
        self.register_buffer("centres", centres.to(dtype), persistent=False)
        self.register_buffer("precisions", (0.5 / s**2).to(dtype), persistent=False)
        self.register_buffer("log_weights", (w.log() - w.sum().log() - log_norm).to(dtype), persistent=False)

    def log_terms(self, x: Tensor) -> Tensor:
        """Compute log w_i + log N(x; c_i, diag s_i²): x [B, D] → [B, M].

        It squares differences x − c_i, so that nothing cancels far from 0.
        """
        terms = self.log_weights
        for d in range(self.centres.shape[1]):
            z = x[:, d, None] - self.centres[:, d]
            terms = torch.addcmul(terms, z * z, self.precisions[:, d], value=-1.0)
        return terms

    def log_prob(self, x: Tensor) -> Tensor:
        """Compute log p(x): x [B, D] → [B]."""
        return table_in_chunks(lambda c: log_sum_exp(self.log_terms(c)), x, self.centres.shape[0])

    def largest_group(self, x: Tensor) -> Tensor:
        """Find the group with the largest share of p(x): x [B, D] → integers [B]."""

        def best(c: Tensor) -> Tensor:
            terms = self.log_terms(c)
            shares = (terms - terms.amax(1, keepdim=True)).clamp_(min=NEGLIGIBLE).exp_()
            return shares.view(c.shape[0], self.n_groups, -1).sum(2).argmax(1)

        with torch.no_grad():
            return table_in_chunks(best, x, self.centres.shape[0])
