"""The abstractions of this folder: a data set, and the density that a synthetic one is drawn from.

A data set speaks two units. Training rows (`batches`, `reference`) come standardised, because energy, noise and
sampler live there; held-out rows and the exact density are in the data's own units, because results are reported there.
"""

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from ebm_cli.datasets.batches import Batches
from ebm_cli.datasets.standardizer import Standardizer
from ebm_cli.densities.base import Density

N_REFERENCE = 10_000
"""Rows of `Dataset.reference`, where the training set has as many."""
BLOCK = 4096
"""Rows of a fixed sequence are drawn in blocks of this many, so that fewer rows are the first of more."""

Part = Literal["train", "validation", "test"]
"""What training sees, what it is watched by, and what the final evaluation takes (`held_out`)."""

UnseenPart = Literal["validation", "test"]
"""The parts that training never sees."""


class Labelled(NamedTuple):
    """Rows x [N, *shape] in data units, and the class of each: labels [N], integers from 0."""

    x: Tensor
    labels: Tensor


class Target(Density):
    """A density that data are drawn from, in data units: it knows its modes, and itself under Gaussian noise.

    Args:
        shape: shape of one point.

    Attributes:
        n_modes: number of labels that `modes` gives.
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
        """The density of x + noise_std · ε, ε ~ N(0, I), noise_std ≥ 0 in data units; itself for 0.

        Raises:
            ValueError: where that density cannot be had.
        """

    def modes(self, x: Tensor) -> Tensor:
        """The mode that each of x [B, *shape] belongs to: integers [B] in 0 … n_modes − 1."""
        return torch.zeros(x.shape[0], dtype=torch.long, device=x.device)

    def normal(self, n: int, rng: torch.Generator) -> Tensor:
        """n standard normal points [n, *shape]."""
        return torch.randn((n, *self.shape), generator=rng, dtype=self.origin.dtype, device=self.origin.device)

    def uniform(self, n: int, rng: torch.Generator) -> Tensor:
        """n numbers [n], uniform on [0, 1)."""
        return torch.rand(n, generator=rng, dtype=self.origin.dtype, device=self.origin.device)

    def labels(self, n: int, rng: torch.Generator) -> Tensor:
        """n labels [n], each of 0 … n_modes − 1 equally likely."""
        return torch.randint(self.n_modes, (n,), generator=rng, device=self.origin.device)


class Dataset(nn.Module, ABC):
    """Training rows, held-out rows and, where it is known, the density that both are drawn from.

    A module, so that `.to(device, dtype)` moves all of it; its `state_dict` is the standardizer's.

    Attributes:
        shape: shape of one point.
        standardizer: data units ↔ standardised units.
        density: the exact density of a row in data units, smoothing noise included; None for real data.
    """

    shape: tuple[int, ...]
    standardizer: Standardizer
    density: Density | None

    @property
    def hard_edges(self) -> bool:
        """Whether the density is known to jump to 0 somewhere."""
        return False

    @property
    @abstractmethod
    def reference(self) -> Tensor:
        """Fixed training rows [N, *shape], standardised units: what a noise distribution is fitted to."""

    @abstractmethod
    def held_out(self, n: int) -> Tensor:
        """The first n of a fixed sequence of rows that training never sees: [n, *shape], data units.

        A finite data set gives all that it has where n is larger.
        """

    @abstractmethod
    def validation(self, n: int) -> Tensor:
        """The first n of another such sequence, to watch training by: no row of it is held out or trained on."""

    def unseen_rows(self, part: UnseenPart, n: int) -> Tensor:
        """The first n rows of `validation` or of `held_out`: [n, *shape], data units."""
        return self.validation(n) if part == "validation" else self.held_out(n)

    def standardised_rows(self, part: UnseenPart, n: int) -> Tensor:
        """The same rows in standardised units, without a gradient."""
        return self.standardizer.standardise(self.unseen_rows(part, n))

    def labelled(self, part: Part, n: int) -> Labelled | None:
        """The first n rows of a part, with their classes, the noise on them fixed; None for rows without classes."""
        return None

    @abstractmethod
    def batches(self, batch_size: int, rng: torch.Generator) -> Batches:
        """An endless stream of batches [B, *shape], standardised units; it owns `rng`, on the data's device."""


def check_common(n_train: int | None, noise_std: float, seed: int) -> None:
    """Ranges of the keys that every data set has."""
    if n_train is not None and n_train < 1:
        raise ValueError(f"n_train must be >= 1 or null, got {n_train}")
    if not 0 <= noise_std < float("inf"):
        raise ValueError(f"noise_std must be >= 0, got {noise_std}")
    if seed < 0:
        raise ValueError(f"seed must be >= 0, got {seed}")


def check_positive(name: str, value: float) -> None:
    """A key that must be a finite number above 0."""
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be > 0, got {value}")
