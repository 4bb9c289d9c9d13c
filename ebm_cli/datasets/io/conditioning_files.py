"""Files that `ebm sample` reads: the rows that chains start from, and masks for inpainting."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ebm_cli.datasets.io.arrays import load_array
from ebm_cli.datasets.io.contents import FileRows, InvalidFile, Reading
from ebm_cli.datasets.io.second_files import read_second, refusal
from ebm_cli.datasets.matching import Matched, match_columns
from ebm_cli.errors import UserError
from ebm_cli.system.home import expanded

ARRAYS = (".npy", ".npz")
"""Suffixes of files that `read_rows` reads; tables, such as .csv, are read by `read_matched`."""


class MatchedRows(NamedTuple):
    """Rows [N, *shape] of a second file in the columns of the run, float64, and a sentence about columns left out."""

    rows: Tensor
    note: str | None = None


def read_matched(
    key: str, file: str, shape: tuple[int, ...], names: Sequence[str] | None, keys: Reading | None = None
) -> MatchedRows:
    """Read the rows of any file that a data set may be read from, in the columns that a run was trained on.

    Args:
        key: of the command line that names the file, for messages.
        file: with a missing number where a coordinate is not known.
        shape: of one row of the run.
        names: of the run's columns; None without names. They are found by name, whatever their order; other columns,
            also of text, are left out. A file without names is read by position.
        keys: by which the run read its own file (`second_files`).

    Raises:
        UserError: no such file, one that holds anything else, or columns that do not match (with both lists).
    """

    def match(read: FileRows) -> Matched:
        return match_columns(names, shape, read.column_names, read.rows.shape[1:])

    try:
        found = read_second(file, names, keys, match)
    except ValueError as reason:
        raise refusal(key, file, reason) from None
    what = f"{key}={file}"
    note = found.matched.sentence(what) if found.note is None else f"{what}: {found.note}"
    return MatchedRows(found.matched(found.read.rows[:]).double(), note)


def read_rows(file: str, shape: tuple[int, ...]) -> Tensor:
    """Read rows [N, *shape] in data units from .npy, or from the array `x` of .npz; NaN marks an unknown coordinate.

    Raises:
        UserError: no such file, or one that holds anything else.
    """
    rows = _read_array(f"init={file}", file, "x", "annealed, noise, data, or a file of rows that exists")
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


def _read_array(key: str, file: str, name: str, wanted: str) -> NDArray[Any]:
    """The array of an .npy file, or the one of this name in an .npz file; messages begin with the key."""
    path = expanded(file)
    if not path.is_file():
        raise UserError(f"{key}: must be {wanted}")
    try:
        return load_array(path, name)
    except InvalidFile as reason:
        raise UserError(f"{key}: cannot be read as .npy, or as .npz with an array {name} ({reason})") from None
