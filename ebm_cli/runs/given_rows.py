"""Rows of a file for the model of a run: read as `dataset=file` reads them, and matched with the run's columns."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ebm_cli.datasets.io.contents import FileRows
from ebm_cli.datasets.io.mapped import Rows
from ebm_cli.datasets.io.second_files import read_second, refusal
from ebm_cli.datasets.matching import Matched, match_columns
from ebm_cli.runs.model import Model

BLOCK = 65_536
"""Rows that are read at once."""


@dataclass(frozen=True)
class GivenRows:
    """Rows of a file.

    Attributes:
        rows: all of them, in memory or mapped.
        matched: their columns in the run's order.
        shape: of one point of the run.
        names: of the run's columns; None if they have none.
        notes: columns that are left out.
    """

    rows: Rows
    matched: Matched
    shape: tuple[int, ...]
    names: tuple[str, ...] | None
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, index: Tensor | slice) -> Tensor:
        """The rows of an index [n, *shape], data units."""
        return self.matched(self.rows[index]).reshape(-1, *self.shape)

    def batches(self) -> Iterator[Tensor]:
        """Yield all rows in pieces [≤ BLOCK, *shape], data units, as float32; a mapped file is read piece by piece."""
        for start in range(0, len(self), BLOCK):
            yield self.at(slice(start, start + BLOCK)).to(torch.float32)


def read_given_rows(path: str, model: Model) -> GivenRows:
    """Read the rows of a file for a run's model; a missing number is NaN.

    Raises:
        UserError: a file that cannot be read, or whose columns are not the run's.
    """
    shape, names = tuple(model.energy.shape), model.column_names

    def match(read: FileRows) -> Matched:
        own = tuple(read.rows.shape[1:])
        # An image may be given as a row of its pixels.
        is_flat = len(shape) > 1 and own == (model.standardizer.mean.numel(),)
        return match_columns(names, own if is_flat else shape, read.column_names, own)

    try:
        found = read_second(path, names, model.reading, match)
    except ValueError as reason:
        raise refusal("data", path, reason) from reason
    what = f"data={path}"
    sentence = found.matched.sentence(what) if found.note is None else f"{what}: {found.note}"
    return GivenRows(found.read.rows, found.matched, shape, names, () if sentence is None else (sentence,))
