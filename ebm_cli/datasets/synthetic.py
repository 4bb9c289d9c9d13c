"""Data drawn from a known density, which every method can be compared with exactly."""

import math
from typing import final

import torch
from torch import Tensor

from ebm_cli.datasets.base import BLOCK, N_REFERENCE, Dataset, require_common_ranges
from ebm_cli.datasets.batches import Batches, EpochBatches, FreshBatches
from ebm_cli.datasets.standardizer import Standardizer
from ebm_cli.datasets.target import Target
from ebm_cli.rng import generator
from ebm_cli.system.memory import max_array_bytes

N_FIT = 100_000
"""Rows that the standardizer is fitted on."""


@final
class Synthetic(Dataset):
    """Rows of a target density, fresh for every batch or a finite set of them.

    Args:
        density: the density that rows are drawn from, data units.
        n_train: rows of a finite training set, ≥ 1 and no more than memory has room for; None streams fresh rows.
        standardize: zero mean and unit scale per column, fitted on 100,000 rows; otherwise the identity.
        noise_std: standard deviation of Gaussian noise on every row, data units, ≥ 0. The attribute `density` is then
            the convolution with that noise. A finite set's rows get fresh noise whenever they are served.
        seed: of all rows but fresh training rows (finite training rows, those that the standardizer is fitted on,
            validation and held-out rows), ≥ 0. Fresh training rows follow the run's seed.

    Shapes: x [B, *shape], the density's.

    Raises:
        ValueError: a number out of its range, more rows than memory has room for, or noise that the density cannot be
            smoothed by.
    """

    density: Target
    _rows: Tensor
    _reference: Tensor

    def __init__(
        self,
        density: Target,
        n_train: int | None = None,
        standardize: bool = True,
        noise_std: float = 0.0,
        seed: int = 0,
    ) -> None:
        require_common_ranges(n_train, noise_std, seed)
        # A sixteenth of the memory for the rows in float32, because drawing them takes several times that.
        largest = max_array_bytes() // 16 // (4 * math.prod(density.shape))
        if n_train is not None and n_train > largest:
            raise ValueError(
                f"n_train must be <= {largest} (the rows that fit into memory), got {n_train}; null streams fresh rows"
            )
        super().__init__()
        self.shape = density.shape
        self.n_train = n_train
        self.noise_std = noise_std
        self.seed = seed
        self.density = density.smoothed(noise_std)
        fit = self.density.sample(N_FIT, generator(seed, "standardizer", density.origin.device, prefix=""))
        self.standardizer = Standardizer.fit(fit) if standardize else Standardizer.identity(self.shape)
        train = generator(seed, "train", density.origin.device, prefix="")
        self.register_buffer("_rows", density.sample(n_train or N_REFERENCE, train), persistent=False)
        noise = noise_std * density.normal(min(self._rows.shape[0], N_REFERENCE), train)
        self.register_buffer("_reference", self._rows[:N_REFERENCE] + noise, persistent=False)

    @property
    def reference(self) -> Tensor:
        x: Tensor = self.standardizer(self._reference)
        return x

    def held_out(self, n: int) -> Tensor:
        return self._fixed_rows("held_out", n)

    def validation(self, n: int) -> Tensor:
        return self._fixed_rows("validation", n)

    def _fixed_rows(self, name: str, n: int) -> Tensor:
        """The first n ≥ 1 rows [n, *shape], data units, of the random stream with this name."""
        rng = generator(self.seed, name, self.density.origin.device, prefix="")
        n_blocks = -(-n // BLOCK)
        return torch.cat([self.density.sample(BLOCK, rng) for _ in range(n_blocks)])[:n]

    def batches(self, batch_size: int, rng: torch.Generator) -> Batches:
        if self.n_train is None:
            return FreshBatches(
                lambda n: self.standardizer(self.density.sample(n, rng)), batch_size, self.density.origin.numel(), rng
            )
        rows = self.standardizer(self._rows)
        noise = self.noise_std / self.standardizer.scale

        def serve(index: Tensor, rng: torch.Generator) -> Tensor:
            x: Tensor = rows[index]
            if not self.noise_std:
                return x
            return x + noise * torch.randn(x.shape, generator=rng, dtype=x.dtype, device=x.device)

        return EpochBatches(serve, len(rows), batch_size, rng)
