"""Parquet files, with pyarrow and without."""

import decimal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ebm_cli.datasets.io.contents import Reading
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

    read = read_rows(written(a=ROWS[:, 0], b=np.arange(50) * 2, c=ROWS[:, 2] > 0))
    x = read.rows
    assert read.column_names == ("a", "b", "c")
    assert read.description == "50 rows × 3 columns (a, b, c) from x.parquet"
    assert isinstance(x, torch.Tensor)
    assert rows_of(x) == rows_of(
        torch.tensor(np.stack([ROWS[:, 0], np.arange(50) * 2, ROWS[:, 2] > 0], axis=1)).float()
    )
    for columns, message in [
        (
            {"a": ROWS[:, 0], "b": ["text"] * 50},
            r"holds text in column b \('text' \(50\), the first in row 0, counted from 0\)\. dataset.drop=b",
        ),
        ({"a": [1, None, 3, 4, 5]}, r"has missing values .* in column a \(1, in row 1, counted from 0\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            read_rows(written(**columns))
    with pytest.raises(ValueError, match=r"cannot be read as .parquet"):
        read_rows(write(tmp_path, "y.parquet", b"PAR1"))


@pytest.mark.parametrize("name", ["x.parquet", "x.feather", "x.arrow"])
def test_index_of_pandas_is_left_out(name: str, tmp_path: Path):
    pytest.importorskip("pyarrow")
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": ROWS[:, 0], "b": ROWS[:, 1]}, index=np.random.default_rng(0).permutation(50))
    for index_name, said in ((None, "column 2 (counted from 0) was left out"), ("key", "column key was left out")):
        frame.index.name = index_name
        if name == "x.parquet":
            frame.to_parquet(tmp_path / name)
        else:
            arrow = pytest.importorskip("pyarrow")
            table = arrow.Table.from_pandas(frame)
            with arrow.OSFile(str(tmp_path / name), "wb") as sink, arrow.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
        read = read_rows(str(tmp_path / name))
        assert read.column_names == ("a", "b")
        assert (
            read.description
            == f"50 rows × 2 columns (a, b) from {name}; {said}: pandas' index, which 'dataset.drop=[]' keeps"
        )
        assert read_rows(str(tmp_path / name), Reading(drop=())).rows.shape == (50, 3)


def test_decimals_are_numbers_and_text_is_not(tmp_path: Path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    values = ["1.50", "2.25", "-0.75", "4.00"]
    exact = arrow.array([decimal.Decimal(value) for value in values])
    parquet.write_table(arrow.table({"a": exact, "b": values}), tmp_path / "x.parquet")
    read = read_rows(str(tmp_path / "x.parquet"), Reading(columns=("a",)))
    assert read.rows[:].tolist() == [[1.5], [2.25], [-0.75], [4.0]]
    with pytest.raises(ValueError, match=r"holds numbers that are stored as text in column b \('1\.50'"):
        read_rows(str(tmp_path / "x.parquet"))
