"""One's own rows, from a file: .npy, .npz, .csv, .tsv, .parquet or .pt."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import final

import numpy as np
import torch

from ebm_cli.datasets.finite import CHUNK_NUMBERS, Finite, Mapped, Rows, split
from ebm_cli.datasets.io.arrays import Found, Refused, column, read_npy, read_npz, read_parquet, read_tensor
from ebm_cli.datasets.io.csv import read_text

READERS: dict[str, Callable[[Path], Found]] = {
    ".npy": read_npy,
    ".npz": read_npz,
    ".csv": partial(read_text, delimiter=","),
    ".tsv": partial(read_text, delimiter="\t"),
    ".parquet": read_parquet,
    ".pt": read_tensor,
}
KINDS = ", ".join([*READERS][:-1]) + f" or {[*READERS][-1]}"


@final
class File(Finite):
    """The rows of a file, shuffled once and split into training, validation and held-out rows.

    Args:
        path: N ≥ 4 rows of D columns of finite numbers, kept in float32: a .npy, a .npz that holds one array, a .csv or
            .tsv with a line of names or without, a .parquet (needs pyarrow), or a .pt that holds one tensor. A list of
            N numbers is one column. A large .npy is not read but mapped: its rows are read when they are served.
        validation_fraction: share of the rows that training is watched by, in (0, 1); at least one row.
        test_fraction: share of the rows that is held out, in (0, 1); at least one row.
        n_train: rows of the training set, ≥ 2; None takes all that are left.
        standardize: zero mean and unit scale per column, fitted on the training rows; else the identity.
        dequantise: uniform noise of one unit on the columns that hold only whole numbers, of absolute value < 2²²:
            fresh whenever a row is served, fixed on rows that are judged by. NLL, KL and entropy are then those of the
            noisy numbers, and the NLL is an upper bound of the whole numbers' own (see `finite`).
        noise_std: standard deviation of Gaussian noise on every row, data units, ≥ 0; fresh whenever a row is served.
        seed: of the split and of the fixed rows' noise, ≥ 0.

    Raises:
        ValueError: a path that names no such file, or a file that holds anything else; the message says where.
    """

    def __init__(
        self,
        path: str | None = None,
        validation_fraction: float = 0.1,
        test_fraction: float = 0.2,
        n_train: int | None = None,
        standardize: bool = True,
        dequantise: bool = False,
        noise_std: float = 0.0,
        seed: int = 0,
    ) -> None:
        rows = read_rows(path)
        if len(rows) < 4:
            count = "1 row" if len(rows) == 1 else f"{len(rows)} rows"
            raise ValueError(f"path {path} holds {count}: 4 are needed, to train on two and to judge by two")
        parts = split(len(rows), validation_fraction, test_fraction, n_train, seed)
        super().__init__(rows, parts, standardize=standardize, dequantise=dequantise, noise_std=noise_std, seed=seed)


def read_rows(path: str | None) -> Rows:
    """The rows [N, D] of a file, all finite: float32 in memory, or a mapped .npy of any real dtype.

    Raises:
        ValueError: no such file, or anything in it that is not a finite number; the message names row and column.
    """
    if path is None:
        raise ValueError(f"path must name a {KINDS} file")
    file = Path(path).expanduser()
    if file.suffix.lower() not in READERS:
        raise ValueError(f"path must name a {KINDS} file, got {path}")
    if not file.is_file():
        raise ValueError(f"path {path} is not a file: looked for {file.absolute()}")
    about = file.stat()
    try:
        return _read(file.absolute(), about.st_mtime_ns, about.st_size)
    except Refused as reason:
        raise ValueError(f"path {path} {reason}") from None


# A run asks for its data twice, to validate its config and to train, and so does every job of a sweep.
@lru_cache(maxsize=1)
def _read(file: Path, changed: int, size: int) -> Rows:
    """The rows of a file of this age and size; they are read-only, and shared by all who ask."""
    found = READERS[file.suffix.lower()](file)
    array = found.array
    if array.dtype.kind not in "biuf":
        raise Refused(f"must hold real numbers, got dtype {array.dtype}")
    if array.ndim == 0:
        raise Refused("must hold rows and columns, [N, D], got one number")
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise Refused(f"must hold rows and columns, [N, D], got shape {list(array.shape)}")
    if array.size == 0:
        raise Refused(f"is empty: shape {list(array.shape)}")
    rows = Mapped(array)
    step = max(1, CHUNK_NUMBERS // rows.shape[1])
    pieces = [slice(start, start + step) for start in range(0, len(rows), step)]
    _check_finite(rows, pieces, found)
    _check_rounding(rows, pieces, found)
    return rows if isinstance(array, np.memmap) else rows[:]


def _check_finite(rows: Mapped, pieces: Sequence[slice], found: Found) -> None:
    """Every number is one, in float32 too; else the first that is not is named."""
    n_wrong, first = 0, ""
    for piece in pieces:
        wrong = (~torch.isfinite(rows[piece])).nonzero()
        if len(wrong) and not n_wrong:
            i, j = piece.start + int(wrong[0, 0]), int(wrong[0, 1])
            first = f"{rows.array[i, j]} in {found.place(i)}, {column(j, found.names)}"
        n_wrong += len(wrong)
    if n_wrong:
        more = f" (and {n_wrong - 1} more like it)" if n_wrong > 1 else ""
        raise Refused(f"holds {first}{more}")


def _check_rounding(rows: Mapped, pieces: Sequence[slice], found: Found) -> None:
    """float32 is right to 1/1000 of each column's range: dates in seconds are off by a minute, whatever the range."""
    low, high, error = np.full(rows.shape[1], np.inf), np.full(rows.shape[1], -np.inf), np.zeros(rows.shape[1])
    for piece in pieces:
        x = rows.array[piece].astype(np.float64)
        low, high = np.minimum(low, x.min(axis=0)), np.maximum(high, x.max(axis=0))
        error = np.maximum(error, np.abs(x - x.astype(np.float32)).max(axis=0))
    # A range that is smaller still is a constant's that was computed with rounding.
    varies = high - low > 1e-12 * np.maximum(np.abs(low), np.abs(high))
    wrong = np.flatnonzero(varies & (error > (high - low) / 1000))
    if len(wrong):
        j = int(wrong[0])
        raise Refused(
            f"holds numbers from {low[j]:.12g} to {high[j]:.12g} in {column(j, found.names)}, which float32 rounds too "
            "coarsely: subtract a constant from them"
        )
