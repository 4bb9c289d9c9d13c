"""Files that `ebm sample` reads: the rows that chains start from, and masks for inpainting."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ebm_cli.datasets.io import row_files
from ebm_cli.datasets.io.arrays import load_array
from ebm_cli.datasets.io.contents import InvalidFile, Reading
from ebm_cli.datasets.io.row_files import READERS, suffix_of
from ebm_cli.datasets.matching import match_columns
from ebm_cli.errors import UserError


def read_rows(
    file: str, shape: tuple[int, ...], names: Sequence[str] | None = None, keys: Reading | None = None
) -> Tensor:
    """Read rows [N, *shape] in data units; NaN, and an empty cell of a table, marks an unknown coordinate.

    They are those of an .npy, of the array `x` of an .npz, or of a table of any kind that `File` reads.

    Args:
        file: its path.
        shape: of a row.
        names: columns that the run was trained on, which are looked up in a table; None without names.
        keys: how the table is written.

    Raises:
        UserError: no such file, or one that holds anything else.
    """
    if suffix_of(Path(file)) in READERS.keys() - {".npy", ".npz"} and Path(file).expanduser().is_file():
        return _read_table(file, shape, names, keys or Reading())
    rows = _read_array(f"init={file}", file, "x", "annealed, noise, data, or an .npy or .npz file that exists")
    if rows.shape[1:] != tuple(shape) or len(rows) == 0:
        raise UserError(f"init={file}: must have rows of shape {tuple(shape)}, got an array of shape {rows.shape}")
    if rows.dtype.kind not in "buif":
        raise UserError(f"init={file}: must hold numbers, got an array of {rows.dtype}")
    if np.isinf(rows).any():
        raise UserError(f"init={file}: row {int(np.argwhere(np.isinf(rows))[0][0])} holds a number that is not finite")
    return torch.from_numpy(rows.astype(np.float64))


def read_mask(file: str, shape: tuple[int, ...]) -> Tensor:
    """Read masks [N, *shape], N ≥ 1, true for a kept coordinate, from .npy, or from the array `mask` of .npz.

    Raises:
        UserError: no such file, or one that holds anything else.
    """
    array = _read_array(f"mask={file}", file, "mask", "an .npy or .npz file that exists")
    masks = array[None] if array.shape == tuple(shape) else array
    if masks.shape[1:] != tuple(shape) or len(masks) == 0:
        wanted = ", ".join(map(str, shape))
        raise UserError(f"mask={file}: must have the shape ({wanted}) or (N, {wanted}), got {array.shape}")
    if masks.dtype.kind not in "buif" or not np.isin(masks, (0, 1)).all():
        strange = "" if masks.dtype.kind not in "buif" else f" such as {masks[~np.isin(masks, (0, 1))][0]}"
        raise UserError(f"mask={file}: must hold true/1 (keep) and false/0 (sample), got {masks.dtype}{strange}")
    return torch.from_numpy(masks.astype(bool))


def _read_table(file: str, shape: tuple[int, ...], names: Sequence[str] | None, keys: Reading) -> Tensor:
    """Read the rows of a table in the columns of a run."""
    written = replace(keys, array=None, columns=None, drop=None, label=None)
    try:
        read = None
        if names is not None:
            with suppress(ValueError):  # without these columns, all are read, and the message says which are missing
                read = row_files.read_rows(file, replace(written, columns=tuple(names)), missing=True)
        read = read or row_files.read_rows(file, written, missing=True)
        matched = match_columns(names, shape, read.column_names, read.rows.shape[1:])
    except ValueError as error:
        raise UserError(f"init={file}: {str(error).removeprefix(f'path {file} ')}") from error
    return matched(read.rows[:]).double()


def _read_array(key: str, file: str, name: str, wanted: str) -> NDArray[Any]:
    """The array of an .npy file, or the one of this name in an .npz file; messages begin with the key."""
    path = Path(file).expanduser()
    if not path.is_file():
        raise UserError(f"{key}: must be {wanted}")
    try:
        return load_array(path, name)
    except InvalidFile as reason:
        raise UserError(f"{key}: cannot be read as .npy, or as .npz with an array {name} ({reason})") from None
