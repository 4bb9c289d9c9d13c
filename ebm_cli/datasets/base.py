"""The abstraction of this folder: a data set.

A data set uses two units. Training rows (`batches`, `reference`) are standardised, because energy, noise and sampler
use standardised units; held-out rows and the exact density are in data units, because results are reported in them.
"""

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from ebm_cli.datasets.batches import Batches
from ebm_cli.datasets.fingerprint import Fingerprint
from ebm_cli.datasets.io.contents import ColumnWords
from ebm_cli.datasets.standardizer import Standardizer
from ebm_cli.densities.base import Density

N_REFERENCE = 10_000
"""Rows of `Dataset.reference`, if the training set has as many."""
N_REFERENCE_OF_TABLE = 50_000
"""The same of a table, whose reference density has more to learn than two moments."""
BLOCK = 4096
"""Rows of a fixed sequence are drawn in blocks of this many, so that fewer rows are the first of more."""

Part = Literal["train", "validation", "test"]
"""Training rows, rows that training is monitored by, and rows of the final evaluation (`held_out`)."""
UnseenPart = Literal["validation", "test"]
"""The parts that are never trained on."""


class Labelled(NamedTuple):
    """Rows x [N, *shape] in data units, and their classes labels [N], integers from 0."""

    x: Tensor
    labels: Tensor


class Dataset(nn.Module, ABC):
    """Training rows, held-out rows and, if it is known, the density that both are drawn from.

    A module, so that `.to(device, dtype)` moves all of it; its `state_dict` is the standardizer's.

    Attributes:
        shape: shape of one point.
        standardizer: data units ↔ standardised units.
        density: the exact density of a row in data units, smoothing noise included; None for real data.
        column_names: one a column of a table whose file names them; None for other data.
        class_names: one a class of `labelled`, where the data name them.
        description: of what was read from a user's file, in a sentence; "" for other data.
        fingerprint: of a user's file, by which a run recognises it; None for other data.
    """

    shape: tuple[int, ...]
    standardizer: Standardizer
    density: Density | None
    column_names: tuple[str, ...] | None = None
    class_names: tuple[str, ...] | None = None
    description: str = ""
    fingerprint: Fingerprint | None = None

    @property
    def column_words(self) -> ColumnWords:
        """Words for the columns in messages: by their places in the file that they come from."""
        return ColumnWords(self.column_names)

    @property
    def is_table(self) -> bool:
        """True for rows of a table, of one axis, whose best simple estimator a model should start at."""
        return False

    @property
    def has_jumps(self) -> bool:
        """True if the density is known to jump somewhere, which biases score matching."""
        return False

    @property
    @abstractmethod
    def reference(self) -> Tensor:
        """Fixed training rows [N, *shape], standardised units: the rows that a noise distribution is fitted to."""

    @abstractmethod
    def held_out(self, n: int) -> Tensor:
        """The first n rows of a fixed sequence that is never trained on: [n, *shape], data units.

        A finite data set returns all of its test rows if n is larger.
        """

    @abstractmethod
    def validation(self, n: int) -> Tensor:
        """The first n rows of a second such sequence, which training is monitored by; it shares no row with others."""

    def unseen_rows(self, part: UnseenPart, n: int) -> Tensor:
        """The first n rows of `validation` or of `held_out`: [n, *shape], data units."""
        return self.validation(n) if part == "validation" else self.held_out(n)

    def standardised_rows(self, part: UnseenPart, n: int) -> Tensor:
        """The same rows in standardised units, without a gradient."""
        return self.standardizer.standardise(self.unseen_rows(part, n))

    def labelled(self, part: Part, n: int) -> Labelled | None:
        """The first n rows of a part with their classes and with fixed noise; None for rows without classes."""
        return None

    @abstractmethod
    def batches(self, batch_size: int, rng: torch.Generator) -> Batches:
        """An endless stream of batches [B, *shape], standardised units; it owns `rng`, on the data's device."""


def require_common_ranges(n_train: int | None, noise_std: float, seed: int) -> None:
    """Require the ranges of the keys that every data set has.

    Raises:
        ValueError: a number out of its range; the message begins with its key.
    """
    if n_train is not None and n_train < 1:
        raise ValueError(f"n_train must be >= 1 or null, got {n_train}")
    if not 0 <= noise_std < float("inf"):
        raise ValueError(f"noise_std must be >= 0, got {noise_std}")
    if seed < 0:
        raise ValueError(f"seed must be >= 0, got {seed}")
