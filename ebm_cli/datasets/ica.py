"""Linear mixtures of independent sources: the data of independent component analysis."""

import math
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from ebm_cli.datasets.target import Target
from ebm_cli.rng import generator


@final
class ICA(Target):
    """x = A s with independent logistic sources: log p(x) = Σ_i log p_s(w_iᵀx) + log |det W|,  W = A⁻¹.

        log p_s(s) = −softplus(s) − softplus(−s)       scale 1: variance π²/3, entropy 2 nats

    W has standard normal entries and is redrawn until its condition number is below D: the experiment of Grathwohl,
    Wang, Jacobsen, Duvenaud & Zemel (2020), "Learning the Stein discrepancy for training and evaluating energy-based
    models without sampling", section 5.2 and its code. The entropy is 2 D − log |det W|.

    Args:
        dim: D ≥ 2.
        seed: of W, ≥ 0.

    Shapes: x [B, D]. One mode.

    Raises:
        ValueError: a number out of its range.
    """

    unmixing: Tensor
    mixing: Tensor

    def __init__(self, dim: int = 10, seed: int = 0) -> None:
        if dim < 2:
            raise ValueError(f"dim must be >= 2, got {dim}")
        if seed < 0:
            raise ValueError(f"seed must be >= 0, got {seed}")
        super().__init__((dim,))
        rng = generator(seed, "mixing", torch.device("cpu"), prefix="")
        w = torch.randn(dim, dim, generator=rng, dtype=torch.float64)
        while torch.linalg.cond(w) >= dim:
            w = torch.randn(dim, dim, generator=rng, dtype=torch.float64)
        dtype = torch.get_default_dtype()
        self.log_det = float(torch.linalg.slogdet(w).logabsdet)
        self.register_buffer("unmixing", w.to(dtype), persistent=False)
        self.register_buffer("mixing", torch.linalg.inv(w).to(dtype), persistent=False)

    @property
    def entropy(self) -> float:
        """−E log p(x), nats."""
        return 2.0 * self.shape[0] - self.log_det

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        # In float64: of the uniform numbers of float32, 0 has no logistic quantile, and the next, 2⁻²⁴, cuts the tails.
        u = torch.rand((n, *self.shape), generator=rng, dtype=torch.float64, device=self.origin.device)
        s = torch.logit(u.clamp(min=math.ulp(0.5))).to(self.origin.dtype)
        return s @ self.mixing.T

    def log_prob(self, x: Tensor) -> Tensor:
        s = x @ self.unmixing.T
        return self.log_det - (F.softplus(s) + F.softplus(-s)).sum(1)

    def smoothed(self, noise_std: float) -> Target:
        if noise_std == 0:
            return self
        raise ValueError(f"noise_std must be 0 for mixed sources, whose blurred density is not known, got {noise_std}")
