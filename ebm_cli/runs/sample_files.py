"""The arrays of `ebm sample`: samples.npz where every sample is finite, samples.partial.npz where one is not.

Samples that are not finite are left out of the partial file, so that it can be looked at; what is left is no sample of
the model, since the chains that diverged are missing. No script that reads samples.npz takes it for one.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

WHOLE, PARTIAL = "samples.npz", "samples.partial.npz"


class SampleFile(NamedTuple):
    """A file of samples.

    Attributes:
        path: of the file.
        n_lost: samples that are not finite, and not in the file.
        n: all samples.
    """

    path: Path
    n_lost: int
    n: int

    @property
    def shown(self) -> Path:
        """The path that a reader opens."""
        return self.path

    @property
    def is_whole(self) -> bool:
        """True if every sample is finite."""
        return self.n_lost == 0

    @property
    def failures(self) -> tuple[str, ...]:
        """A sentence on the lost samples, if there are any."""
        if self.is_whole:
            return ()
        n_finite = self.n - self.n_lost
        rest = f"holds the other {n_finite:,}, which are no sample of the model" if n_finite else "holds none"
        lost = f"{self.n_lost:,} of {self.n:,} samples or their energies are not finite"
        return (f"{lost}: {self.path.name}, in place of {WHOLE}, {rest}.",)


def write_samples(folder: Path, x: Tensor, energy: Tensor, row: Tensor | None) -> SampleFile:
    """Write samples to `folder`.

    Args:
        folder: exists.
        x: samples [N, *shape], data units.
        energy: of each [N], nats.
        row: the given row that each is conditional on [N]; None for the unconditional distribution.

    The file has the arrays `x` and `energy`, `row` if there is one, and a partial file also `sample`, the number of
    each of its samples among all N, and `n_not_finite`.
    """
    arrays, n_lost = finite_arrays(x, energy, row)
    path = folder / (PARTIAL if n_lost else WHOLE)
    np.savez(path, **arrays)
    return SampleFile(path, n_lost, len(x))


def finite_arrays(x: Tensor, energy: Tensor, row: Tensor | None) -> tuple[dict[str, Any], int]:
    """The arrays of a file of samples, of those that are finite, and the number of the others."""
    finite = x.flatten(1).isfinite().all(1) & energy.isfinite()
    arrays = {"x": x, "energy": energy} | ({} if row is None else {"row": row})
    n_lost = int((~finite).sum())
    if n_lost:
        arrays = {name: array[finite] for name, array in arrays.items()} | {
            "sample": finite.nonzero().squeeze(1),
            "n_not_finite": (~finite).sum(),
        }
    return {name: array.cpu().numpy() for name, array in arrays.items()}, n_lost
