"""Exact densities of data with added Gaussian noise, for targets that are not Gaussians or blurred curves.

p_s(x) = E_ε p(x − s ε),   ε ~ N(0, I)
"""

import math
from typing import final

import numpy as np
import torch
from torch import Tensor

from ebm_cli.datasets.gaussian_sums import GaussianSum, log_sum_exp, table_in_chunks
from ebm_cli.datasets.target import Target

GAUSS_HERMITE_ERROR = 1e-7
"""Relative error of the Gauss–Hermite rule."""
MAX_RATIO = 2.0
"""Noise over the target's finest length, at most: beyond it the Gauss–Hermite rule needs thousands of nodes."""


@final
class Smoothed(Target):
    """x + s ε for a target in one or two dimensions, by a product Gauss–Hermite rule over ε.

    On a Gaussian of standard deviation `finest` the rule of n nodes has an error of about (a / (1 + a))ⁿ with
    a = (s / finest)²; n is the smallest number, at least 8, for which that is below 1e-7.

    Args:
        target: the density without noise; shape [1] or [2].
        noise_std: s, in (0, 2 · finest], data units.
        finest: the smallest length on which the target varies, data units.

    Shapes: x [B, 1] or [B, 2]. Modes: the target's.
    Cost: n^D evaluations of the target a point, 8 to 73 nodes a dimension.

    Raises:
        ValueError: noise_std out of its range, or a target in more than two dimensions.
    """

    shifts: Tensor
    log_weights: Tensor

    def __init__(self, target: Target, noise_std: float, finest: float) -> None:
        if not 0 < noise_std <= MAX_RATIO * finest:
            raise ValueError(
                f"noise_std must be in [0, {MAX_RATIO * finest:g}] (twice this density's finest length), "
                f"got {noise_std}"
            )
        if target.origin.numel() > 2:
            raise ValueError(
                f"noise_std must be 0 for this density in {target.origin.numel()} dimensions, got {noise_std}"
            )
        super().__init__(target.shape)
        self.target = target
        self.n_modes = target.n_modes
        self.noise_std = noise_std
        ratio = (noise_std / finest) ** 2
        n = max(8, math.ceil(math.log(GAUSS_HERMITE_ERROR) / math.log(ratio / (1.0 + ratio))))
        t, w = np.polynomial.hermite_e.hermegauss(n)
        dim = target.origin.numel()
        eps = torch.cartesian_prod(*[torch.from_numpy(t)] * dim).reshape(-1, dim)
        log_w = torch.cartesian_prod(*[torch.from_numpy(np.log(w / w.sum()))] * dim).reshape(-1, dim).sum(1)
        # Nodes of weight below 1e-12 cost time and do not change the result.
        kept = log_w > math.log(1e-12)
        dtype = torch.get_default_dtype()
        self.register_buffer("shifts", (noise_std * eps[kept]).to(dtype), persistent=False)
        self.register_buffer("log_weights", log_w[kept].to(dtype), persistent=False)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return self.target.sample(n, rng) + self.noise_std * self.normal(n, rng)

    def log_prob(self, x: Tensor) -> Tensor:
        def table(c: Tensor) -> Tensor:
            shifted = (c[:, None] - self.shifts).flatten(0, 1)
            terms = self.target.log_prob(shifted).view(c.shape[0], -1)
            return log_sum_exp(terms + self.log_weights)

        return table_in_chunks(table, x, 8 * self.shifts.shape[0])

    def modes(self, x: Tensor) -> Tensor:
        return self.target.modes(x)

    def smoothed(self, noise_std: float) -> Target:
        if noise_std == 0:
            return self
        raise ValueError(f"noise_std must be 0 for a density that is smoothed already, got {noise_std}")


@final
class ConditionallySmoothed(Target):
    """x + s ε for a target that is Gaussian given one coordinate: a 1-D integral over that coordinate.

    Args:
        target: the density without noise.
        noise_std: s > 0, data units.
        gaussians: quadrature of the integral, noise included: p_s(x) = Σ_i w_i N(x; c_i, diag s_i²).

    Shapes: x [B, D]. One mode.
    """

    def __init__(self, target: Target, noise_std: float, gaussians: GaussianSum) -> None:
        super().__init__(target.shape)
        self.target = target
        self.noise_std = noise_std
        self.gaussians = gaussians

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return self.target.sample(n, rng) + self.noise_std * self.normal(n, rng)

    def log_prob(self, x: Tensor) -> Tensor:
        return self.gaussians.log_prob(x)

    def smoothed(self, noise_std: float) -> Target:
        return self if noise_std == 0 else self.target.smoothed(math.hypot(self.noise_std, noise_std))
