"""Data drawn from a density that is known: the truth against which every method is measured."""

from typing import final

import torch
from torch import Tensor

from ebm_cli.datasets.base import N_REFERENCE, Dataset, Target, check_common, stream
from ebm_cli.datasets.batches import Batches, EpochBatches, FreshBatches
from ebm_cli.datasets.standardizer import Standardizer

N_FIT = 100_000
HELD_OUT_BLOCK = 4096


@final
class Synthetic(Dataset):
    """Rows of a target density, fresh for every batch or a finite set of them.

    Args:
        density: what a row is drawn from, data units.
        n_train: rows of a finite training set, ≥ 1; None streams fresh rows.
        standardize: zero mean and unit scale per column, fitted on 100,000 rows; else the identity.
        noise_std: standard deviation of Gaussian noise on every row, data units, ≥ 0. The data are then the
            convolution, and so is `density`. A finite set's rows get fresh noise whenever they are served.
        seed: of the finite rows, the standardizer's rows and the held-out rows, ≥ 0. Fresh rows are the run's seed's.
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
        check_common(n_train, noise_std, seed)
        super().__init__()
        self.shape = density.shape
        self.n_train = n_train
        self.noise_std = noise_std
        self.seed = seed
        self.density = density.smoothed(noise_std)
        fit = self.density.sample(N_FIT, stream(seed, "standardizer", density.origin.device))
        self.standardizer = Standardizer.fit(fit) if standardize else Standardizer.identity(self.shape)
        train = stream(seed, "train", density.origin.device)
        self.register_buffer("_rows", density.sample(n_train or N_REFERENCE, train), persistent=False)
        noise = noise_std * density.normal(min(self._rows.shape[0], N_REFERENCE), train)
        self.register_buffer("_reference", self._rows[:N_REFERENCE] + noise, persistent=False)

    @property
    def reference(self) -> Tensor:
        x: Tensor = self.standardizer(self._reference)
        return x

    def held_out(self, n: int) -> Tensor:
        """n ≥ 1 rows [n, *shape], data units, in blocks of a fixed size so that fewer rows are the first of more."""
        rng = stream(self.seed, "held_out", self.density.origin.device)
        n_blocks = -(-n // HELD_OUT_BLOCK)
        return torch.cat([self.density.sample(HELD_OUT_BLOCK, rng) for _ in range(n_blocks)])[:n]

    def batches(self, batch_size: int, rng: torch.Generator) -> Batches:
        if self.n_train is None:
            return FreshBatches(
                lambda n: self.standardizer(self.density.sample(n, rng)), batch_size, self.density.origin.numel(), rng
            )
        noise = self.noise_std / self.standardizer.scale if self.noise_std else None
        return EpochBatches(self.standardizer(self._rows), batch_size, rng, noise)
