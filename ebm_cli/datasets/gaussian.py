"""One Gaussian in any dimension, on which every formula has a closed form."""

import math
from typing import final

import torch
from torch import Tensor

from ebm_cli.datasets.target import Target


@final
class Gaussian(Target):
    """N(m, S) on R^D.

    Args:
        dim: D ≥ 1.
        mean: D numbers, data units; None is 0.
        cov: D lists of D numbers, symmetric positive definite, squared data units; None is I.

    Shapes: x [B, D]. One mode.

    Raises:
        ValueError: arguments that do not fit each other, or a covariance that is not positive definite.
    """

    mean: Tensor
    root: Tensor
    whiten: Tensor

    def __init__(self, dim: int = 2, mean: list[float] | None = None, cov: list[list[float]] | None = None) -> None:
        if dim < 1:
            raise ValueError(f"dim must be >= 1, got {dim}")
        if mean is not None and len(mean) != dim:
            raise ValueError(f"mean must be {dim} numbers, got {mean}")
        if cov is not None and (len(cov) != dim or any(len(row) != dim for row in cov)):
            raise ValueError(f"cov must be {dim} lists of {dim} numbers, got {cov}")
        super().__init__((dim,))
        m = torch.zeros(dim, dtype=torch.float64) if mean is None else torch.tensor(mean, dtype=torch.float64)
        s = torch.eye(dim, dtype=torch.float64) if cov is None else torch.tensor(cov, dtype=torch.float64)
        if not m.isfinite().all():
            raise ValueError(f"mean must be finite numbers, got {mean}")
        root, failed = torch.linalg.cholesky_ex(s)
        if failed or not torch.equal(s, s.T) or not root.isfinite().all():
            raise ValueError(f"cov must be symmetric and positive definite, got {cov}")
        whiten = torch.linalg.solve_triangular(root, torch.eye(dim, dtype=torch.float64), upper=False)
        dtype = torch.get_default_dtype()
        self.log_norm = float(root.diagonal().log().sum()) + 0.5 * dim * math.log(2.0 * math.pi)
        self.register_buffer("mean", m.to(dtype), persistent=False)
        self.register_buffer("root", root.to(dtype), persistent=False)
        self.register_buffer("whiten", whiten.to(dtype), persistent=False)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.addmm(self.mean, self.normal(n, rng), self.root.T)

    def log_prob(self, x: Tensor) -> Tensor:
        z = (x - self.mean) @ self.whiten.T.to(x.dtype)
        return -0.5 * z.square().sum(1) - self.log_norm

    def smoothed(self, noise_std: float) -> Target:
        if noise_std == 0:
            return self
        root = self.root.double()
        cov = root @ root.T + noise_std**2 * torch.eye(len(root), dtype=torch.float64, device=root.device)
        return Gaussian(len(root), self.mean.tolist(), (0.5 * (cov + cov.T)).tolist())
