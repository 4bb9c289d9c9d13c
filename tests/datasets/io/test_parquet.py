"""Parquet files, with pyarrow and without."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ebm_cli.datasets.io.row_files import read_rows
from tests.datasets.support import ROWS, rows_of, write


def test_read_parquet_without_pyarrow_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    path = write(tmp_path, "x.parquet", b"PAR1")
    with pytest.raises(ValueError, match=r"^path \S+ needs pyarrow, which is not installed: pip install"):
        read_rows(path)


def test_read_parquet_reads_columns_of_numbers_only(tmp_path: Path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    def written(**columns: Any) -> str:
        parquet.write_table(arrow.table(columns), tmp_path / "x.parquet")
        return str(tmp_path / "x.parquet")

    x, names = read_rows(written(a=ROWS[:, 0], b=np.arange(50), c=ROWS[:, 2] > 0))
    assert names == ("a", "b", "c")
    assert isinstance(x, torch.Tensor)
    assert rows_of(x) == rows_of(torch.tensor(np.stack([ROWS[:, 0], np.arange(50), ROWS[:, 2] > 0], axis=1)).float())
    for columns, message in [
        ({"a": ROWS[:, 0], "b": ["text"] * 50}, r"holds string in column 1 \(b\), not numbers"),
        ({"a": [1, None, 3, 4, 5]}, r"holds nan in row 1, column 0 \(a\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            read_rows(written(**columns))
    with pytest.raises(ValueError, match=r"cannot be read as .parquet"):
        read_rows(write(tmp_path, "y.parquet", b"PAR1"))
