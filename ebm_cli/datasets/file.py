"""One's own rows, from a file: .npy, .npz, .csv or .tsv."""

import csv
import zipfile
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from ebm_cli.datasets.base import N_REFERENCE, Dataset, check_common, stream
from ebm_cli.datasets.batches import Batches, EpochBatches
from ebm_cli.datasets.standardizer import Standardizer

DELIMITERS = {".csv": ",", ".tsv": "\t"}


@final
class File(Dataset):
    """The rows of a file, shuffled once and split into a training set and held-out rows.

    Args:
        path: a .npy, a .npz that holds one array, or a .csv or .tsv of numbers, with a line of names or without;
            N rows of D columns, all finite. A list of N numbers is one column.
        test_fraction: share of the rows that is held out, in (0, 1); at least one row.
        n_train: rows of the training set, ≥ 2; None takes all that are not held out.
        standardize: zero mean and unit scale per column, fitted on the training rows; else the identity.
        noise_std: standard deviation of Gaussian noise on every row, data units, ≥ 0; fresh whenever a row is served.
        seed: of the split and of the held-out rows' noise, ≥ 0.

    Raises:
        ValueError: a path that names no such file, or a file that holds anything else; the message says where.
    """

    _rows: Tensor
    _reference: Tensor
    _held_out: Tensor

    def __init__(
        self,
        path: str | None = None,
        test_fraction: float = 0.2,
        n_train: int | None = None,
        standardize: bool = True,
        noise_std: float = 0.0,
        seed: int = 0,
    ) -> None:
        check_common(n_train, noise_std, seed)
        if n_train == 1:
            raise ValueError("n_train must be >= 2 or null, got 1")
        if not 0 < test_fraction < 1:
            raise ValueError(f"test_fraction must be in (0, 1), got {test_fraction}")
        x = read_rows(path)
        n_test = max(1, round(test_fraction * len(x)))
        n_left = len(x) - n_test
        if n_left < 2:
            raise ValueError(
                f"path {path} holds {len(x)} rows, which leaves {n_left} to train on: at least 2 are needed"
            )
        if n_train is not None and n_train > n_left:
            raise ValueError(f"n_train must be <= {n_left}, the rows of {path} that are not held out, got {n_train}")
        super().__init__()
        self.density = None
        self.shape = tuple(x.shape[1:])
        self.noise_std = noise_std
        rng = stream(seed, "split", x.device)
        x = x[torch.randperm(len(x), generator=rng)]
        x, train = x[:n_test], x[n_test:][:n_train]
        self.register_buffer("_rows", train, persistent=False)
        noisy = train + noise_std * torch.randn(train.shape, generator=rng)
        self.register_buffer("_reference", noisy[:N_REFERENCE], persistent=False)
        self.register_buffer("_held_out", x + noise_std * torch.randn(x.shape, generator=rng), persistent=False)
        self.standardizer = Standardizer.fit(noisy) if standardize else Standardizer.identity(self.shape)

    @property
    def reference(self) -> Tensor:
        u: Tensor = self.standardizer(self._reference)
        return u

    def held_out(self, n: int) -> Tensor:
        return self._held_out[:n]

    def batches(self, batch_size: int, rng: torch.Generator) -> Batches:
        noise = self.noise_std / self.standardizer.scale if self.noise_std else None
        return EpochBatches(self.standardizer(self._rows), batch_size, rng, noise)


def read_rows(path: str | None) -> Tensor:
    """The rows [N, D] of a file, float32."""
    if path is None:
        raise ValueError("path must name a .npy, .npz, .csv or .tsv file")
    file = Path(path).expanduser()
    suffix = file.suffix.lower()
    if suffix not in {".npy", ".npz", *DELIMITERS}:
        raise ValueError(f"path must name a .npy, .npz, .csv or .tsv file, got {path}")
    if not file.is_file():
        raise ValueError(f"path {path} is not a file: looked for {file.absolute()}")
    if suffix in DELIMITERS:
        rows, names, lines = _read_text(file, DELIMITERS[suffix])
    else:
        rows, names, lines = _read_numpy(file), None, None
    if rows.ndim == 1:
        rows = rows[:, None]
    if rows.ndim != 2:
        raise ValueError(f"path {path} must hold rows and columns, [N, D], got shape {list(rows.shape)}")
    if rows.size == 0:
        raise ValueError(f"path {path} is empty: shape {list(rows.shape)}")
    with np.errstate(over="ignore"):
        x = rows.astype(np.float32)
    wrong = np.argwhere(~np.isfinite(x))
    if len(wrong):
        i, j = (int(k) for k in wrong[0])
        where = f"row {i}" if lines is None else f"line {lines[i]}"
        more = f" (and {len(wrong) - 1} more like it)" if len(wrong) > 1 else ""
        raise ValueError(f"path {path} holds {rows[i, j]} in {where}, {_column(j, names)}{more}")
    return torch.from_numpy(x)


def _read_numpy(file: Path) -> np.ndarray[Any, Any]:
    """The one array of a .npy or .npz; never unpickles, because that runs code."""
    try:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            with loaded:
                if len(loaded.files) != 1:
                    names = ", ".join(loaded.files) or "none"
                    raise ValueError(f"path {file} must hold one array, got {len(loaded.files)}: {names}")
                array = loaded[loaded.files[0]]
        else:
            array = loaded
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        if str(error).startswith("path "):
            raise
        if "allow_pickle" in str(error) and "Object arrays" in str(error):
            raise ValueError(f"path {file} holds Python objects, not numbers (dtype object)") from None
        raise ValueError(f"path {file} cannot be read as {file.suffix}: {error}") from None
    if array.dtype.kind not in "biuf":
        raise ValueError(f"path {file} must hold real numbers, got dtype {array.dtype}")
    if array.ndim == 0:
        raise ValueError(f"path {file} must hold rows and columns, [N, D], got one number")
    return np.asarray(array)


def _read_text(file: Path, delimiter: str) -> tuple[np.ndarray[Any, Any], list[str] | None, list[int]]:
    """The rows, the columns' names where the first line has no number in it, and each row's line (from 1)."""
    rows: list[list[float]] = []
    lines: list[int] = []
    names: list[str] | None = None
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            reader = csv.reader(text, delimiter=delimiter)
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                numbers = [_number(cell) for cell in cells]
                if names is None and not rows and all(number is None for number in numbers):
                    names = [cell.strip() for cell in cells]
                    continue
                row = [number for number in numbers if number is not None]
                where = f"line {reader.line_num}"
                if len(row) < len(cells):
                    j = numbers.index(None)
                    found = f"text {cells[j]!r}" if cells[j].strip() else "nothing"
                    raise ValueError(f"path {file} holds {found} in {where}, {_column(j, names)}")
                width = len(rows[0]) if rows else len(names or row)
                if len(row) != width:
                    raise ValueError(f"path {file} has {len(row)} columns in {where}, expected {width}")
                rows.append(row)
                lines.append(reader.line_num)
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise ValueError(f"path {file} cannot be read as {file.suffix}: {error}") from None
    if not rows:
        raise ValueError(f"path {file} is empty: it has no row of numbers")
    return np.array(rows), names, lines


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _column(j: int, names: list[str] | None) -> str:
    """A column by its position (from 0) and, where the file gives one, its name."""
    return f"column {j} ({names[j]})" if names and j < len(names) else f"column {j}"
