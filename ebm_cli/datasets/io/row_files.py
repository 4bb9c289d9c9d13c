"""Rows of a user's file: the reader is chosen by the file's suffix, and every number is validated."""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ebm_cli.datasets.fingerprint import Fingerprint, fingerprint
from ebm_cli.datasets.io.arrays import read_array
from ebm_cli.datasets.io.contents import Contents, InvalidFile, column_label
from ebm_cli.datasets.io.csv import read_text
from ebm_cli.datasets.io.mapped import CHUNK_NUMBERS, MappedRows, Rows
from ebm_cli.datasets.io.parquet import read_parquet
from ebm_cli.datasets.io.tensors import read_tensor

READERS: dict[str, Callable[[Path], Contents]] = {
    ".npy": read_array,
    ".npz": read_array,
    ".csv": partial(read_text, delimiter=","),
    ".tsv": partial(read_text, delimiter="\t"),
    ".parquet": read_parquet,
    ".pt": read_tensor,
}
"""Suffix → reader."""
SUFFIXES = ", ".join([*READERS][:-1]) + f" or {[*READERS][-1]}"


class FileRows(NamedTuple):
    """Rows of a user's file.

    Attributes:
        rows: [N, D], all finite: float32 in memory, or a mapped .npy of any real dtype.
        column_names: one a column; None if the file has none.
        fingerprint: of all this.
    """

    rows: Rows
    column_names: tuple[str, ...] | None = None
    fingerprint: Fingerprint | None = None


def read_rows(path: str | None) -> FileRows:
    """Read the rows of a file, and the names of its columns.

    Raises:
        ValueError: no such file, or one that does not hold finite numbers; the message names row and column.
    """
    if path is None:
        raise ValueError(f"path must name a {SUFFIXES} file")
    file = Path(path).expanduser()
    if file.suffix.lower() not in READERS:
        raise ValueError(f"path must name a {SUFFIXES} file, got {path}")
    if not file.is_file():
        raise ValueError(f"path {path} is not a file: looked for {file.absolute()}")
    about = file.stat()
    try:
        return _read(file.absolute(), about.st_mtime_ns, about.st_size)
    except InvalidFile as reason:
        raise ValueError(f"path {path} {reason}") from None


# A run builds its data set twice, to validate its config and to train, and so does every job of a sweep.
@lru_cache(maxsize=1)
def _read(file: Path, modified: int, size: int) -> FileRows:
    """The rows of a file with this time of modification and size; they are shared by all callers and read-only."""
    contents = READERS[file.suffix.lower()](file)
    array = contents.array
    if array.dtype.kind not in "biuf":
        raise InvalidFile(f"must hold real numbers, got dtype {array.dtype}")
    if array.ndim == 0:
        raise InvalidFile("must hold rows and columns, [N, D], got one number")
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise InvalidFile(f"must hold rows and columns, [N, D], got shape {list(array.shape)}")
    if array.size == 0:
        raise InvalidFile(f"is empty: shape {list(array.shape)}")
    rows = MappedRows(array)
    require_finite(rows, contents)
    require_float32_precision(rows, contents)
    names = None if contents.column_names is None else tuple(contents.column_names)
    kept = rows if isinstance(array, np.memmap) else rows[:]
    return FileRows(kept, names, fingerprint(kept, names))


def require_finite(rows: MappedRows, contents: Contents, chunk_numbers: int = CHUNK_NUMBERS) -> None:
    """Require that every number is finite, in float32 too.

    Raises:
        InvalidFile: the message names the first number that is not.
    """
    n_wrong, first = 0, ""
    for chunk in _slices(rows, chunk_numbers):
        wrong = (~torch.isfinite(rows[chunk])).nonzero()
        if len(wrong) and not n_wrong:
            i, j = chunk.start + int(wrong[0, 0]), int(wrong[0, 1])
            first = f"{rows.array[i, j]} in {contents.row_label(i)}, {column_label(j, contents.column_names)}"
        n_wrong += len(wrong)
    if n_wrong:
        more = f" (and {n_wrong - 1} more like it)" if n_wrong > 1 else ""
        raise InvalidFile(f"holds {first}{more}")


def require_float32_precision(rows: MappedRows, contents: Contents, chunk_numbers: int = CHUNK_NUMBERS) -> None:
    """Require that float32 resolves 1/1000 of each column's range: dates in seconds, for instance, are off by a minute.

    Raises:
        InvalidFile: the message names the first column that is rounded more coarsely.
    """
    low, high, error = np.full(rows.shape[1], np.inf), np.full(rows.shape[1], -np.inf), np.zeros(rows.shape[1])
    for chunk in _slices(rows, chunk_numbers):
        x = rows.array[chunk].astype(np.float64)
        low, high = np.minimum(low, x.min(axis=0)), np.maximum(high, x.max(axis=0))
        error = np.maximum(error, np.abs(x - x.astype(np.float32)).max(axis=0))
    # A smaller range is that of a constant which was computed with rounding.
    varies = high - low > 1e-12 * np.maximum(np.abs(low), np.abs(high))
    wrong = np.flatnonzero(varies & (error > (high - low) / 1000))
    if len(wrong):
        j = int(wrong[0])
        label = column_label(j, contents.column_names)
        raise InvalidFile(
            f"holds numbers from {low[j]:.12g} to {high[j]:.12g} in {label}, which float32 rounds too coarsely: "
            "subtract a constant from them"
        )


def _slices(rows: MappedRows, chunk_numbers: int) -> Iterator[slice]:
    """Slices of consecutive rows with at most `chunk_numbers` numbers each, at least one row."""
    step = max(1, chunk_numbers // rows.shape[1])
    return (slice(start, start + step) for start in range(0, len(rows), step))
