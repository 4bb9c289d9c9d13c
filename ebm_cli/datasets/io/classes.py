"""Classes of rows: texts or whole numbers in a column of their own, numbered in their order."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ebm_cli.datasets.io.contents import listed

NO_CLASS = "missing"
"""Name of the class of the rows whose class is an empty cell."""


class Classes(NamedTuple):
    """The class of each row [N], integers from 0, and the name of each class."""

    labels: Tensor
    names: tuple[str, ...]

    def describe(self) -> str:
        """The classes with their number of rows: "a (200), b (150)"."""
        counts = self.labels.bincount(minlength=len(self.names)).tolist()
        return listed(f"{name} ({n:,})" for name, n in zip(self.names, counts, strict=True))


def read_classes(
    values: Sequence[Any] | np.ndarray[Any, Any], label: object, missing: Sequence[str] | None = None
) -> Classes:
    """Number the classes of a column of texts or whole numbers.

    Args:
        values: one a row [N].
        label: the key's value, for messages.
        missing: names of the classes of the rows without one [n]; None to refuse such rows.

    Raises:
        ValueError: missing values, numbers that are not whole, one class only, or nearly as many classes as rows.
    """
    import pandas as pd

    column = pd.Series(values)
    gap = column.isna().to_numpy()
    if missing is None and (n_missing := int(gap.sum())):
        raise ValueError(
            f"label={label}: {n_missing:,} of {len(column):,} rows have no class: fill them in, remove them, or set "
            "dataset.missing_class=true, which makes them a class of their own"
        )
    present = column[~gap]
    if present.dtype.kind == "f":
        if bool((present != present.round()).any()):
            first = present[present != present.round()].iloc[0]
            raise ValueError(f"label={label}: holds {first:g}: a class is a text or a whole number")
        present = present.astype("int64")
    codes = np.empty(len(column), dtype=np.int64)
    codes[~gap], uniques = pd.factorize(present, sort=present.map(type).nunique() == 1)
    names = list(map(str, uniques))
    names += [name for name in sorted(set(missing or ())) if name not in names]
    codes[gap] = [names.index(name) for name in missing or ()]
    if len(names) > len(column) / 2:
        raise ValueError(
            f"label={label}: holds {len(names):,} different values in {len(column):,} rows ({listed(names, 4)}), "
            "too many to be classes"
        )
    if len(names) < 2:
        raise ValueError(f"label={label}: holds one class only, {names[0]}: at least 2 are needed")
    return Classes(torch.from_numpy(codes), tuple(names))
