"""Arrays from files, each kind of file by its reader. Nothing that a file holds is run: it is numbers, or refused.

Text has a module of its own, `text`; `file` chooses the reader and looks at the numbers.
"""

import importlib
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

MAPPED_FROM = 2**24
"""Bytes of a .npy from which it is mapped. A smaller one is read, and may be overwritten while a run trains on it."""


class Refused(Exception):
    """A file that holds something else than rows of numbers; the message goes on after the file's name."""


class Found(NamedTuple):
    """What a file holds, and how messages call its places: columns by their names, rows by their lines."""

    array: np.ndarray[Any, Any]
    names: Sequence[str] | None = None
    place: Callable[[int], str] = "row {}".format


def column(j: int, names: Sequence[str] | None) -> str:
    """A column by its position (from 0) and, where the file gives one, its name."""
    return f"column {j} ({names[j]})" if names and j < len(names) else f"column {j}"


def read_npy(file: Path) -> Found:
    """The array of a .npy, mapped where it is large."""
    return Found(_load(file, "r" if file.stat().st_size >= MAPPED_FROM else None))


def read_npz(file: Path) -> Found:
    """The one array of a .npz."""
    loaded = _load(file, None)
    if not isinstance(loaded, np.lib.npyio.NpzFile):
        return Found(loaded)
    with loaded:
        if len(loaded.files) != 1:
            names = ", ".join(loaded.files) or "none"
            raise Refused(f"must hold one array, got {len(loaded.files)}: {names}")
        try:
            return Found(loaded[loaded.files[0]])
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise _why(file, error) from None


def _load(file: Path, mode: Any) -> Any:
    try:
        return np.load(file, mmap_mode=mode, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise _why(file, error) from None


def _why(file: Path, error: Exception) -> Refused:
    if "Object arrays" in str(error) or "Python objects" in str(error):
        return Refused("holds Python objects, not numbers (dtype object)")
    return Refused(f"cannot be read as {file.suffix}: {str(error).splitlines()[0]}")


def read_tensor(file: Path) -> Found:
    """The tensor that torch.save wrote, by torch's restricted reader, which builds tensors and plain containers."""
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception:  # a damaged file raises whatever it happens to look like
        raise Refused("is damaged, or holds more than the one tensor that torch.save(x, path) writes") from None
    if not isinstance(loaded, Tensor):
        raise Refused(f"must hold one tensor, got a {type(loaded).__name__}")
    if loaded.is_complex() or loaded.is_quantized or loaded.layout != torch.strided:
        raise Refused(f"must hold a dense tensor of real numbers, got {loaded.layout}, {loaded.dtype}")
    x = loaded.detach()
    # numpy has no bfloat16.
    return Found((x.float() if x.is_floating_point() and x.dtype != torch.float64 else x).numpy())


def read_parquet(file: Path) -> Found:
    """The columns of a Parquet file, side by side; a missing value is NaN."""
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise Refused("needs pyarrow, which is not installed: pip install 'ebm-cli[parquet]'") from None
    try:
        table = parquet.read_table(file)
    except Exception as error:  # pyarrow's own errors have no common base class
        raise Refused(
            f"cannot be read as {file.suffix}: {(str(error).splitlines() or ['no reason given'])[0]}"
        ) from None
    names: list[str] = list(table.column_names)
    columns = [table.column(j).to_numpy() for j in range(len(names))]
    for j, values in enumerate(columns):
        if values.dtype.kind not in "biuf":
            raise Refused(f"holds {table.column(j).type} in {column(j, names)}, not numbers")
    if not columns:
        raise Refused("is empty: it has no columns")
    return Found(np.stack([values.astype(np.float64) for values in columns], axis=1), names)
