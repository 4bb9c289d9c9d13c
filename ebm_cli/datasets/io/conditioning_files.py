"""Files of `ebm sample`: the rows that chains start from, and masks for inpainting."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ebm_cli.datasets.io.arrays import Refused, load
from ebm_cli.errors import UserError

Array = np.ndarray[Any, np.dtype[Any]]


def read_rows(file: str, shape: tuple[int, ...]) -> Tensor:
    """Rows [N, *shape] in data units from .npy, or from the array `x` of .npz; NaN stands for what is not known."""
    rows = _read(f"init={file}", file, "x", "noise, data, or an .npy or .npz file that exists")
    if rows.shape[1:] != tuple(shape) or len(rows) == 0:
        raise UserError(f"init={file}: must have rows of shape {tuple(shape)}, got an array of shape {rows.shape}")
    if rows.dtype.kind not in "buif":
        raise UserError(f"init={file}: must hold numbers, got an array of {rows.dtype}")
    if np.isinf(rows).any():
        raise UserError(f"init={file}: row {int(np.argwhere(np.isinf(rows))[0][0])} holds a number that is not finite")
    return torch.from_numpy(rows.astype(np.float64))


def read_mask(file: str, shape: tuple[int, ...]) -> Tensor:
    """Masks [N, *shape], true where a coordinate is kept, from .npy, or from the array `mask` of .npz; N may be 1."""
    array = _read(f"mask={file}", file, "mask", "an .npy or .npz file that exists")
    masks = array[None] if array.shape == tuple(shape) else array
    if masks.shape[1:] != tuple(shape) or len(masks) == 0:
        wanted = ", ".join(map(str, shape))
        raise UserError(f"mask={file}: must have the shape ({wanted}) or (N, {wanted}), got {array.shape}")
    if masks.dtype.kind not in "buif" or not np.isin(masks, (0, 1)).all():
        strange = "" if masks.dtype.kind not in "buif" else f" such as {masks[~np.isin(masks, (0, 1))][0]}"
        raise UserError(f"mask={file}: must hold true/1 (keep) and false/0 (sample), got {masks.dtype}{strange}")
    return torch.from_numpy(masks.astype(bool))


def _read(what: str, file: str, name: str, wanted: str) -> Array:
    """The array of an .npy file, or the one of this name in an .npz file."""
    path = Path(file)
    if not path.is_file():
        raise UserError(f"{what}: must be {wanted}")
    try:
        return load(path, name)
    except Refused as reason:
        raise UserError(f"{what}: cannot be read as .npy, or as .npz with an array {name} ({reason})") from None
