"""Columns of a second file, such as that of eval.ood, in the order of the columns that a run was trained on.

Columns are matched by their names, so that a file in another order is not taken for the run's. A file without names,
or of a run without them, is matched by position, and must have as many columns.
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from ebm_cli.datasets.base import Dataset
from ebm_cli.datasets.io.contents import counted, listed

NAMED = 12
"""Names that a message lists, at most."""


class Matched(NamedTuple):
    """Columns of a second file that are those of the run.

    Attributes:
        order: their positions in the file, in the run's order; None if the file has the same columns in that order.
        dropped: names of the file's other columns.
    """

    order: list[int] | None = None
    dropped: tuple[str, ...] = ()

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows [N, D'] of the file → [N, D] of the run."""
        return rows if self.order is None else rows[:, self.order]

    def sentence(self, what: str) -> str | None:
        """The sentence that says which columns are left out; None if none is."""
        if not self.dropped:
            return None
        dropped = f"column{'s' * (len(self.dropped) > 1)} {listed(self.dropped, NAMED)}"
        return f"{what}: {dropped} left out, which the run was not trained on"


def match_columns(
    run: Sequence[str] | None, run_shape: Sequence[int], given: Sequence[str] | None, given_shape: Sequence[int]
) -> Matched:
    """Match the columns of a file with those of a run.

    Args:
        run, given: their names; None without names.
        run_shape, given_shape: of one row.

    Raises:
        ValueError: a column of the run is missing, or the two cannot be told apart; the message lists both.
    """
    if run is None or given is None or len(run_shape) != 1 or len(given_shape) != 1:
        if list(run_shape) == list(given_shape):
            return Matched()
        raise ValueError(f"has {_described(given, given_shape)}, the run was trained on {_described(run, run_shape)}")
    if list(run) == list(given):
        return Matched()
    lists = f"its columns are {listed(given, NAMED)}, the run was trained on {listed(run, NAMED)}"
    missing = [name for name in run if name not in given]
    if missing:
        raise ValueError(f"has no column {listed(missing, NAMED)}: {lists}")
    twice = next((name for name in given if list(given).count(name) > 1 or list(run).count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"has several columns {twice}: {lists}")
    order = [list(given).index(name) for name in run]
    return Matched(order, tuple(name for name in given if name not in run))


def match_data_sets(run: Dataset, other: Dataset) -> Matched:
    """Match the columns of another data set with those of a run's; see `match_columns`."""
    return match_columns(run.column_names, run.shape, other.column_names, other.shape)


def _described(names: Sequence[str] | None, shape: Sequence[int]) -> str:
    if len(shape) != 1:
        return f"rows of shape {list(shape)}"
    columns = counted(shape[0], "column")
    return columns if names is None else f"{columns} ({listed(names, NAMED)})"
