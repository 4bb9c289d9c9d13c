"""Rows that a caller gives: numpy arrays, tensors or tables of pandas, checked and brought to one form."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ebm_cli.errors import UserError

Rows = TypeVar("Rows", NDArray[Any], Tensor)
"""The kind of array that a caller gives and gets back."""


class Points(NamedTuple):
    """Rows in the data's own units.

    Attributes:
        x: [B, *shape], float64, on the device of the model.
        given: as the caller gave them.
    """

    x: Tensor
    given: NDArray[Any] | Tensor

    def like_given(self, found: Tensor) -> Any:
        """Numbers [B, …] as the kind of array that was given, in its dtype if that is a floating-point one."""
        if isinstance(self.given, Tensor):
            dtype = self.given.dtype if self.given.is_floating_point() else torch.float64
            return found.to(self.given.device, dtype)
        kind = self.given.dtype if np.issubdtype(self.given.dtype, np.floating) else np.float64
        return found.cpu().numpy().astype(kind)


def points_of(given: Any, shape: Sequence[int], names: Sequence[str] | None, device: torch.device) -> Points:
    """Read rows [B, *shape]; a table of pandas is matched by the names of its columns.

    Raises:
        UserError: another shape, text, complex numbers, or a table that lacks a column.
    """
    is_table = hasattr(given, "columns") and hasattr(given, "to_numpy")
    found = _columns_of(given, names) if is_table else given
    rows = found if isinstance(found, Tensor) else np.asarray(found)
    if not isinstance(rows, Tensor) and rows.dtype.kind not in "biuf":
        raise UserError(f"x holds {rows.dtype}, not numbers; give the columns that the model was trained on")
    if isinstance(rows, Tensor) and rows.is_complex():
        raise UserError(f"x holds {rows.dtype}; a point has real coordinates")
    if tuple(rows.shape[1:]) != tuple(shape) or rows.ndim == 0:
        raise UserError(_wrong_shape(rows.shape, shape, names))
    x = rows.detach() if isinstance(rows, Tensor) else torch.from_numpy(np.ascontiguousarray(rows, np.float64))
    return Points(x.to(device, torch.float64), rows)


def _columns_of(table: Any, names: Sequence[str] | None) -> Any:
    """The columns of a table of pandas that the model has, in its order; all of them if it has no names."""
    if names is None:
        return table.to_numpy()
    missing = [name for name in names if name not in table.columns]
    if missing:
        there = ", ".join(map(str, table.columns))
        raise UserError(f"x lacks the column {missing[0]}; the model has {', '.join(names)}, the table {there}")
    return table[list(names)].to_numpy()


def _wrong_shape(found: Sequence[int], shape: Sequence[int], names: Sequence[str] | None) -> str:
    columns = f" ({', '.join(names)})" if names and len(names) <= 12 else ""
    wanted = f"n rows of {shape[0]} columns{columns}" if len(shape) == 1 else f"n points of shape {tuple(shape)}"
    single = "; a single point is given as x[None]" if tuple(found) == tuple(shape) else ""
    return f"x has the shape {tuple(found)}; it must be (n, {', '.join(map(str, shape))}): {wanted}{single}"
