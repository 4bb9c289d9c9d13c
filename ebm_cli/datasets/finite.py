"""Data sets of finitely many rows: split once, standardised and served with noise.

    x → x + [u] + noise_std · ε → (· − mean) / scale        u ~ U[0, 1) per whole-numbered column, ε ~ N(0, 1)

The rows are kept as they were read (bytes of an image, a mapped file): the noise and the change of units are applied to
a batch when it is served, so that no second copy of the data exists. A training row gets fresh noise each time;
validation and test rows get theirs once, from a stream of their own.

**Dequantisation.** The likelihood of whole numbers under a density is unbounded: narrow peaks on them make it
arbitrarily high. The likelihood of x + u is bounded, and its NLL is an upper bound of the NLL of the whole numbers
under the discrete model that gives each number the mass of its unit cell:
−E log ∫ p(x + u) du ≤ −E log p(x + u), by Jensen's inequality. Source: Theis, van den Oord & Bethge (2016), "A note on
the evaluation of generative models", section 3.1. The density of x + u jumps, which score matching does not allow:
`dequantise="gaussian"` adds a normal number instead, of half a step of the column, and to rounded columns, too.
"""

import math
from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ebm_cli.datasets.base import (
    BLOCK,
    N_REFERENCE,
    N_REFERENCE_OF_TABLE,
    Dataset,
    Labelled,
    Part,
    require_common_ranges,
)
from ebm_cli.datasets.batches import Batches, EpochBatches
from ebm_cli.datasets.columns import column_moments, half_steps, robust_moments, whole_columns
from ebm_cli.datasets.copies import Duplicates, count_duplicates
from ebm_cli.datasets.io.mapped import Rows, chunks
from ebm_cli.datasets.split import Split
from ebm_cli.datasets.standardizer import Standardizer
from ebm_cli.rng import generator

FAR_OUT = 100.0
"""Robust standard deviations from the median beyond which `standardize=robust` leaves a row out: 23 times as far as the
farthest of 100,000 normal numbers."""
Standardize = bool | Literal["robust"]
"""Units of training: each column's mean and standard deviation, the data's own, or median and quartiles."""
Dequantise = bool | Literal["gaussian"]
"""Noise on columns of repeated values: uniform on whole numbers, none, or normal on rounded numbers, too."""


class LeftOut(NamedTuple):
    """Rows in no part: their number, and the columns in which they are too far from the median."""

    rows: int
    columns: tuple[int, ...]


class Finite(Dataset, ABC):
    """Finitely many rows, split once.

    Subclasses repeat its arguments, because the keys of an option are exactly its constructor's parameters.

    Args:
        rows: all rows [N, *shape], data units, finite numbers.
        parts: the indices of the training, validation and test rows.
        labels: the class of each row, integers [N] from 0; None for rows without classes.
        pixel_range: for images, the lowest and the highest value of a pixel, a and b: one map takes [a, b], or
            [a, b + 1) if they are dequantised, to [−1, 1]; dequantised numbers must then be whole. None for a table,
            in which each column gets zero mean and unit scale over the training rows, noise included.
        standardize: change the units so; otherwise the identity. "robust" takes a table's median and quartiles, and
            leaves out the rows with a number more than `FAR_OUT` such scales from the median: they would decide every
            loss. They are in no part, and `left_out` counts them.
        dequantise: add u ~ U[0, 1) to every column that holds only whole numbers; "gaussian" adds N(0, (s/2)²) to every
            column of a table with ties, s its step (`column_values.ties`).
        noise_std: standard deviation of Gaussian noise on every row, data units, ≥ 0.
        seed: of the noise on validation and test rows, ≥ 0.

    Raises:
        ValueError: a number out of its range, or no column to dequantise.
    """

    _rows: Rows
    _is_whole: Tensor | None
    _blur: Tensor | None

    @abstractmethod
    def __init__(
        self,
        rows: Rows,
        parts: Split,
        *,
        labels: Tensor | None = None,
        pixel_range: tuple[float, float] | None = None,
        standardize: Standardize = True,
        dequantise: Dequantise = False,
        noise_std: float = 0.0,
        seed: int = 0,
    ) -> None:
        require_common_ranges(None, noise_std, seed)
        super().__init__()
        self.density = None
        self.shape = tuple(rows.shape[1:])
        self.noise_std = noise_std
        self.seed = seed
        dtype = torch.get_default_dtype()
        if isinstance(rows, Tensor):
            self.register_buffer("_rows", rows, persistent=False)
        else:
            self._rows = rows
        self._parts = parts._asdict()
        self._labels = labels
        # Not part of the state: it follows from the constructor's arguments, but moves with the rest.
        self.register_buffer("_is_whole", None, persistent=False)
        self.left_out = LeftOut(0, ())
        self.register_buffer("_blur", None, persistent=False)
        if dequantise == "gaussian":
            self.register_buffer("_blur", (half_steps(rows).square() + noise_std**2).sqrt().to(dtype), persistent=False)
        elif dequantise:
            is_whole = whole_columns(rows) if pixel_range is None else torch.ones(self.shape, dtype=torch.bool)
            self.register_buffer("_is_whole", is_whole.to(dtype), persistent=False)
        if not standardize:
            self.standardizer = Standardizer.identity(self.shape)
        elif pixel_range is None:
            self.standardizer = self._fit_standardizer(is_robust=standardize == "robust").to(dtype)
            if standardize == "robust":
                self._leave_out_far_rows()
        else:
            self.standardizer = Standardizer.for_pixels(self.shape, pixel_range[0], pixel_range[1] + bool(dequantise))

    @property
    def has_jumps(self) -> bool:
        """Dequantised rows without Gaussian noise: the density of u ~ U[0, 1) jumps at every whole number."""
        return self._is_whole is not None and self.noise_std == 0

    @property
    def reference(self) -> Tensor:
        n = N_REFERENCE_OF_TABLE if self.is_table else N_REFERENCE
        u: Tensor = self.standardizer(self._fixed_rows("train", n))
        return u

    @property
    def n_train(self) -> int:
        """Training rows."""
        return len(self._parts["train"])

    def training_rows(self, n: int) -> Tensor:
        """The first n training rows [n, *shape], data units, with fixed noise."""
        return self._fixed_rows("train", n)

    def duplicates(self) -> Duplicates | None:
        """Count equal rows, before any noise, in all parts; None for a table too large for it."""
        return count_duplicates(self._rows, Split(**self._parts))

    def held_out(self, n: int) -> Tensor:
        return self._fixed_rows("test", n)

    def validation(self, n: int) -> Tensor:
        return self._fixed_rows("validation", n)

    def labelled(self, part: Part, n: int) -> Labelled | None:
        if self._labels is None:
            return None
        labels = self._labels[self._parts[part][:n]].to(self.standardizer.device)
        return Labelled(self._fixed_rows(part, n), labels)

    def batches(self, batch_size: int, rng: torch.Generator) -> Batches:
        train = self._parts["train"].to(rng.device)

        def serve(index: Tensor, rng: torch.Generator) -> Tensor:
            x = self._raw_rows(train[index])
            noise = self._draw_noise(len(x), rng)
            u: Tensor = self.standardizer(x if noise is None else x + noise)
            return u

        return EpochBatches(serve, len(train), batch_size, rng)

    def _raw_rows(self, index: Tensor) -> Tensor:
        """Rows [n, *shape] without noise, data units, with the standardizer's dtype and device."""
        where = index.to(self._rows.device) if isinstance(self._rows, Tensor) else index
        return self._rows[where].to(self.standardizer.like)

    def _fixed_rows(self, part: Part, n: int) -> Tensor:
        """The first n rows of a part, data units, with the same noise at every call."""
        # The noise is drawn on the CPU and in float32, so that it is the same on every device and in every dtype.
        rng = generator(self.seed, f"noise/{part}", torch.device("cpu"), prefix="")
        blocks = []
        for index in self._parts[part][:n].split(BLOCK):
            x, noise = self._raw_rows(index), self._draw_noise(BLOCK, rng)
            blocks.append(x if noise is None else x + noise[: len(x)].to(x))
        return torch.cat(blocks)

    def _draw_noise(self, n: int, rng: torch.Generator) -> Tensor | None:
        """Noise for n rows [n, *shape], data units, on the generator's device; None if there is none to add."""
        size, noise = (n, *self.shape), None
        if self._is_whole is not None:
            noise = self._is_whole.to(rng.device) * torch.rand(size, generator=rng, device=rng.device)
        if self.noise_std or self._blur is not None:
            std = self.noise_std if self._blur is None else self._blur.to(rng.device)
            blur = std * torch.randn(size, generator=rng, device=rng.device)
            noise = blur if noise is None else noise + blur
        return noise

    def _leave_out_far_rows(self) -> None:
        """Remove the rows from all parts that lie more than `FAR_OUT` scales from the centre in a column."""
        is_far, columns = [], torch.zeros(math.prod(self.shape), dtype=torch.bool)
        for x in chunks(self._rows, torch.arange(len(self._rows))):
            far = (self.standardizer.standardise(x).abs() > FAR_OUT).flatten(1).cpu()
            is_far.append(far.any(1))
            columns |= far.any(0)
        near = ~torch.cat(is_far)
        kept = {name: index[near[index]] for name, index in self._parts.items()}
        n_far = sum(len(self._parts[name]) - len(index) for name, index in kept.items())
        if len(kept["train"]) < 2 or min(map(len, kept.values())) < 1:
            raise ValueError(
                f"standardize must be true or false: robust leaves out {n_far:,} of {len(near):,} rows, more than "
                f"{FAR_OUT:.0f} robust standard deviations from the median of a column"
            )
        self._parts, self.left_out = kept, LeftOut(n_far, tuple(columns.nonzero().flatten().tolist()))

    def _fit_standardizer(self, is_robust: bool) -> Standardizer:
        """Zero mean and unit scale per column over the training rows with their noise, whose moments are known."""
        # In the order of the file, in which a disk reads fastest.
        train = self._parts["train"].sort().values
        moments = column_moments(self._rows, train)
        mean, variance = moments.mean, moments.squares / (moments.n - 1)
        if is_robust:
            mean, variance = robust_moments(self._rows, train, mean, variance)
        variance = variance + (self.noise_std**2 if self._blur is None else self._blur.double().square())
        if self._is_whole is not None:
            mean, variance = mean + self._is_whole / 2, variance + self._is_whole / 12
        return Standardizer.from_moments(mean, variance.sqrt(), moments.largest)
