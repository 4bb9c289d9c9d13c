"""Parquet files, read by pyarrow, which is an optional dependency."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from ebm_cli.datasets.io.contents import Contents, InvalidFile, column_label
from ebm_cli.errors import first_line


def read_parquet(file: Path) -> Contents:
    """Read the columns of a Parquet file side by side, [N, D] in float64; a missing value becomes NaN.

    Raises:
        InvalidFile: pyarrow is not installed, a damaged file, no columns, or a column that does not hold numbers.
    """
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise InvalidFile("needs pyarrow, which is not installed: pip install 'ebm-cli[parquet]'") from None
    try:
        table = parquet.read_table(file)
    except Exception as error:  # pyarrow's own errors have no common base class
        raise InvalidFile(f"cannot be read as {file.suffix}: {first_line(error)}") from None
    names: list[str] = list(table.column_names)
    columns = [table.column(j).to_numpy() for j in range(len(names))]
    for j, values in enumerate(columns):
        if values.dtype.kind not in "biuf":
            raise InvalidFile(f"holds {table.column(j).type} in {column_label(j, names)}, not numbers")
    if not columns:
        raise InvalidFile("is empty: it has no columns")
    return Contents(np.stack([values.astype(np.float64) for values in columns], axis=1), names)
