"""What all data sets of finitely many rows are: rows → split → standardised → served.

    x → x + [u] + noise_std · ε → (· − mean) / scale        u ~ U[0, 1) per whole-numbered column, ε ~ N(0, 1)

The rows stay as they were read (bytes of an image, a mapped file): the noise and the change of units are applied to a
batch as it is served, so that no second copy of the data exists. A row that is trained on has fresh noise each time;
rows that are judged by have theirs once, from a stream of their own.

**Dequantisation.** The likelihood of whole numbers under a density has no bound: peaks on them make it as high as one
likes. That of x + u has one, and its NLL is an upper bound of the NLL of whole numbers under the discrete model that
gives each the mass of its unit cell: −E log ∫ p(x + u) du ≤ −E log p(x + u), by Jensen's inequality. Source: Theis, van
den Oord & Bethge (2016), "A note on the evaluation of generative models", section 3.1.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from ebm_cli.datasets.base import BLOCK, N_REFERENCE, Dataset, Labelled, Part, check_common
from ebm_cli.datasets.batches import Batches, EpochBatches
from ebm_cli.datasets.standardizer import Standardizer
from ebm_cli.rng import generator

CHUNK_NUMBERS = 2**20
"""Numbers that are looked at together where all rows are gone through."""
LARGEST_DEQUANTISED = 2**22
"""Above it float32 has no two numbers between neighbouring whole ones."""


@final
class Mapped:
    """Rows [N, *shape] that stay in their file: what is asked for is read.

    Args:
        array: of real numbers, memory-mapped.
    """

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array
        self.shape = array.shape

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        """The rows of an index [n], float32 on the CPU; a number that is too large for that is infinite."""
        where = index.cpu().numpy() if isinstance(index, Tensor) else index
        with np.errstate(over="ignore", invalid="ignore"):  # a signalling NaN becomes a quiet one
            return torch.from_numpy(np.array(self.array[where], dtype=np.float32))


Rows = Tensor | Mapped


class Split(NamedTuple):
    """Which rows are whose: indices [n_train], [n_validation], [n_test]; no row is in two of them."""

    train: Tensor
    validation: Tensor
    test: Tensor


def split(
    n_rows: int,
    validation_fraction: float,
    test_fraction: float | None,
    n_train: int | None = None,
    seed: int = 0,
    n_test: int = 0,
) -> Split:
    """Shuffle rows 0 … n_rows − 1 once, and deal them out: at least one to each part.

    Args:
        n_rows: rows to be dealt.
        validation_fraction: share of them that validates, in (0, 1).
        test_fraction: share that is held out, in (0, 1); None where the test rows are published.
        n_train: rows of the training set, ≥ 2; None takes all that are left.
        seed: of the order, ≥ 0.
        n_test: published test rows, which stand behind the n_rows. They are shuffled too, because a published order
            may not be random.

    Raises:
        ValueError: a number out of its range, or fewer than two rows to train on.
    """
    check_common(n_train, 0.0, seed)
    shares = {"validation_fraction": validation_fraction}
    if test_fraction is not None:
        shares["test_fraction"] = test_fraction
    for name, share in shares.items():
        if not 0 < share < 1:
            raise ValueError(f"{name} must be in (0, 1), got {share}")
    if n_train == 1:
        raise ValueError("n_train must be >= 2 or null, got 1")
    counts = {name: max(1, round(share * n_rows)) for name, share in shares.items()}
    n_left = n_rows - sum(counts.values())
    if n_left < 2:
        dealt = " and ".join(f"{name}={share}" for name, share in shares.items())
        raise ValueError(f"{dealt} leave {max(0, n_left)} of {n_rows} rows to train on: at least 2 are needed")
    if n_train is not None and n_train > n_left:
        raise ValueError(f"n_train must be <= {n_left}, what validation and test leave of the rows, got {n_train}")
    rng = generator(seed, "split", torch.device("cpu"), prefix="")
    validation, test, train = torch.randperm(n_rows, generator=rng).split(
        [counts["validation_fraction"], counts.get("test_fraction", 0), n_left]
    )
    published = n_rows + torch.randperm(n_test, generator=rng)
    return Split(train[:n_train], validation, published if test_fraction is None else test)


class Finite(Dataset, ABC):
    """Finitely many rows, split once.

    Args:
        rows: all of them [N, *shape], data units, finite.
        parts: which of them are whose.
        labels: the class of each row, integers [N] from 0, where there are classes.
        top: the largest value of a pixel, whose smallest is 0: all of a row's numbers are whole, and one map takes
            [0, top], or [0, top + 1) if they are dequantised, to [−1, 1]. None is a table, in which each column gets
            zero mean and unit scale over the training rows, noise included.
        standardize: change the units so; else the identity.
        dequantise: add u ~ U[0, 1) to every column that holds only whole numbers.
        noise_std: standard deviation of Gaussian noise on every row, data units, ≥ 0.
        seed: of the noise on the fixed rows, ≥ 0.

    Raises:
        ValueError: a number out of its range, or nothing to dequantise.
    """

    _rows: Rows
    _whole: Tensor | None

    @abstractmethod
    def __init__(
        self,
        rows: Rows,
        parts: Split,
        *,
        labels: Tensor | None = None,
        top: int | None = None,
        standardize: bool = True,
        dequantise: bool = False,
        noise_std: float = 0.0,
        seed: int = 0,
    ) -> None:
        check_common(None, noise_std, seed)
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
        # Not part of the state: they are the constructor's arguments, but move with the rest.
        self.register_buffer("_whole", None, persistent=False)
        if dequantise:
            whole = _whole_columns(rows) if top is None else torch.ones(self.shape, dtype=torch.bool)
            self.register_buffer("_whole", whole.to(dtype), persistent=False)
        if not standardize:
            self.standardizer = Standardizer.identity(self.shape)
        elif top is None:
            self.standardizer = self._fit().to(dtype)
        else:
            self.standardizer = Standardizer.pixels(self.shape, top + dequantise)

    @property
    def hard_edges(self) -> bool:
        return self._whole is not None and self.noise_std == 0

    @property
    def reference(self) -> Tensor:
        u: Tensor = self.standardizer(self._fixed("train", N_REFERENCE))
        return u

    def held_out(self, n: int) -> Tensor:
        return self._fixed("test", n)

    def validation(self, n: int) -> Tensor:
        return self._fixed("validation", n)

    def labelled(self, part: Part, n: int) -> Labelled | None:
        if self._labels is None:
            return None
        return Labelled(self._fixed(part, n), self._labels[self._parts[part][:n]].to(self.standardizer.device))

    def batches(self, batch_size: int, rng: torch.Generator) -> Batches:
        train = self._parts["train"].to(rng.device)

        def serve(index: Tensor, rng: torch.Generator) -> Tensor:
            x = self._take(train[index])
            noise = self._noise(len(x), rng)
            u: Tensor = self.standardizer(x if noise is None else x + noise)
            return u

        return EpochBatches(serve, len(train), batch_size, rng)

    def _take(self, index: Tensor) -> Tensor:
        """Rows [n, *shape] as they are, where the standardizer is and of its dtype."""
        where = index.to(self._rows.device) if isinstance(self._rows, Tensor) else index
        return self._rows[where].to(self.standardizer.like)

    def _fixed(self, part: Part, n: int) -> Tensor:
        """The first n rows of a part, data units, with the same noise each time."""
        # On the CPU and in float32, so that they are the same on every device and in every dtype.
        rng = generator(self.seed, f"noise/{part}", torch.device("cpu"), prefix="")
        found = []
        for index in self._parts[part][:n].split(BLOCK):
            x, noise = self._take(index), self._noise(BLOCK, rng)
            found.append(x if noise is None else x + noise[: len(x)].to(x))
        return torch.cat(found)

    def _noise(self, n: int, rng: torch.Generator) -> Tensor | None:
        """What is added to n rows, data units [n, *shape], on the generator's device; None for nothing."""
        size, noise = (n, *self.shape), None
        if self._whole is not None:
            noise = self._whole.to(rng.device) * torch.rand(size, generator=rng, device=rng.device)
        if self.noise_std:
            blur = self.noise_std * torch.randn(size, generator=rng, device=rng.device)
            noise = blur if noise is None else noise + blur
        return noise

    def _fit(self) -> Standardizer:
        """Zero mean and unit scale per column over the training rows and over their noise, which is known."""
        # In the order of the file, which a disk reads faster than another.
        found = [_Moments.of(x) for x in _pieces(self._rows, self._parts["train"].sort().values)]
        total = found[0]
        for moments in found[1:]:
            total = total.joined(moments)
        mean, variance = total.mean, total.squares / (total.n - 1) + self.noise_std**2
        if self._whole is not None:
            mean, variance = mean + self._whole / 2, variance + self._whole / 12
        return Standardizer.of(mean, variance.sqrt(), total.largest)


class _Moments(NamedTuple):
    """n rows' mean, sum of squares around it and largest absolute value, per column, float64.

    Two sets are joined by Chan, Golub & LeVeque (1983), "Algorithms for computing the sample variance", equation 2.1.
    """

    n: int
    mean: Tensor
    squares: Tensor
    largest: Tensor

    @classmethod
    def of(cls, x: Tensor) -> "_Moments":
        rows = x.double()
        mean = rows.mean(dim=0)
        return cls(len(rows), mean, (rows - mean).square().sum(dim=0), rows.abs().amax(dim=0))

    def joined(self, other: "_Moments") -> "_Moments":
        n, apart = self.n + other.n, other.mean - self.mean
        return _Moments(
            n,
            self.mean + apart * (other.n / n),
            self.squares + other.squares + apart.square() * (self.n * other.n / n),
            torch.maximum(self.largest, other.largest),
        )


def _pieces(rows: Rows, index: Tensor) -> Iterator[Tensor]:
    """The rows of an index, a few at a time."""
    n_numbers = max(1, int(np.prod(rows.shape[1:])))
    for part in index.split(max(1, CHUNK_NUMBERS // n_numbers)):
        yield rows[part]


def _whole_columns(rows: Rows) -> Tensor:
    """Which columns hold only whole numbers: [*shape], true or false."""
    whole = torch.ones(rows.shape[1:], dtype=torch.bool)
    largest = torch.zeros(rows.shape[1:])
    for x in _pieces(rows, torch.arange(len(rows))):
        whole &= (x == x.round()).all(dim=0)
        largest = torch.maximum(largest, x.abs().amax(dim=0))
    if not bool(whole.any()):
        raise ValueError("dequantise must be false: no column holds only whole numbers")
    if bool((whole & (largest >= LARGEST_DEQUANTISED)).any()):
        column = int((whole & (largest >= LARGEST_DEQUANTISED)).flatten().nonzero()[0])
        raise ValueError(
            f"dequantise must be false: column {column} holds whole numbers of {LARGEST_DEQUANTISED} and more, "
            "between which float32 has no room for noise"
        )
    return whole
