"""Densities that synthetic data are drawn from: exact, with modes, and known under Gaussian noise too."""

from abc import abstractmethod

import torch
from torch import Tensor

from ebm_cli.densities.base import Density


class Target(Density):
    """A density that data are drawn from, in data units.

    Args:
        shape: shape of one point.

    Attributes:
        n_modes: number of labels that `modes` returns.
    """

    n_modes: int = 1
    origin: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        # Not part of the state: a target is its constructor's arguments. It carries the target's device and dtype.
        self.register_buffer("origin", torch.zeros(shape), persistent=False)

    @abstractmethod
    def smoothed(self, noise_std: float) -> "Target":
        """The density of x + noise_std · ε, ε ~ N(0, I), noise_std ≥ 0 in data units; the target itself for 0.

        Raises:
            ValueError: that density is not available.
        """

    def modes(self, x: Tensor) -> Tensor:
        """The mode of each of x [B, *shape]: integers [B] in 0 … n_modes − 1."""
        return torch.zeros(x.shape[0], dtype=torch.long, device=x.device)

    def normal(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n standard normal points [n, *shape]."""
        return torch.randn((n, *self.shape), generator=rng, dtype=self.origin.dtype, device=self.origin.device)

    def uniform(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n numbers [n], uniform on [0, 1)."""
        return torch.rand(n, generator=rng, dtype=self.origin.dtype, device=self.origin.device)

    def labels(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n labels [n], each of 0 … n_modes − 1 equally likely."""
        return torch.randint(self.n_modes, (n,), generator=rng, device=self.origin.device)
