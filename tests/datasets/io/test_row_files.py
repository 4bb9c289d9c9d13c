"""Rows of a user's file: numbers of any kind are read, and anything else is named by its place."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ebm_cli.datasets.io.contents import Contents, InvalidFile
from ebm_cli.datasets.io.mapped import MappedRows
from ebm_cli.datasets.io.row_files import read_rows, require_finite, require_float32_precision
from tests.datasets.support import ROWS, assert_refused, write


def with_value(value: float) -> np.ndarray:
    rows = ROWS.copy()
    rows[7, 2] = value
    return rows


def test_read_rows_reads_whole_numbers_and_short_floats(tmp_path: Path):
    for content in (np.arange(12).reshape(6, 2), np.arange(12, dtype=np.uint8).reshape(6, 2) > 5):
        assert read_rows(write(tmp_path, "x.npy", content)).rows.shape == (6, 2)
    for dtype in (torch.bfloat16, torch.float16, torch.int64, torch.bool):
        assert read_rows(write(tmp_path, "x.pt", torch.arange(12).view(6, 2).to(dtype))).rows.shape == (6, 2)


def test_read_rows_reads_a_list_of_numbers_as_one_column(tmp_path: Path):
    assert read_rows(write(tmp_path, "x.npy", ROWS[:, 0])).rows.shape == (50, 1)


def test_read_rows_reads_a_changed_file_again(tmp_path: Path):
    path = write(tmp_path, "x.npy", ROWS)
    assert read_rows(path).rows.shape == (50, 3)
    write(tmp_path, "x.npy", ROWS[:, :2])
    assert read_rows(path).rows.shape == (50, 2)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.npy", with_value(np.nan), "holds nan in row 7, column 2$"),
        ("x.npz", {"x": with_value(-np.inf)}, "holds -inf in row 7, column 2$"),
        ("x.pt", torch.from_numpy(with_value(np.inf)), "holds inf in row 7, column 2$"),
        ("x.npy", np.full((5, 2), 1e300), r"holds 1e\+300 in row 0, column 0 \(and 9 more like it\)"),
        ("x.npy", np.array([["a", "b"]]), "must hold real numbers, got dtype <U1"),
        ("x.npy", np.ones((5, 2), dtype=complex), "must hold real numbers, got dtype complex128"),
        ("x.npy", np.ones((0, 3)), r"is empty: shape \[0, 3\]"),
        ("x.npy", np.ones((9, 2, 2)), r"must hold rows and columns, \[N, D\], got shape \[9, 2, 2\]"),
        ("x.npy", np.array(1.0), r"must hold rows and columns, \[N, D\], got one number"),
    ],
)
def test_read_rows_names_the_fault_and_its_place(name: str, content: object, message: str, tmp_path: Path):
    assert_refused(tmp_path, name, content, message)


def test_require_finite_finds_a_number_behind_the_first_chunk():
    rows = MappedRows(with_value(np.nan))
    with pytest.raises(InvalidFile, match=r"^holds nan in row 7, column 2$"):
        require_finite(rows, Contents(rows.array), chunk_numbers=9)


def test_require_float32_precision_names_the_first_coarse_column():
    rows = MappedRows(1e9 * np.ones((40, 2)) + np.arange(40)[:, None] * np.array([1e6, 1.0]))
    with pytest.raises(
        InvalidFile, match=r"^holds numbers from 1000000000 to 1000000039 in column 1 \(b\), which float32"
    ):
        require_float32_precision(rows, Contents(rows.array, ["a", "b"]), chunk_numbers=9)
    require_float32_precision(MappedRows(rows.array[:, :1]), Contents(rows.array))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (None, r"path must name a .npy, .npz, .csv, .tsv, .parquet or .pt file$"),
        ("data.xlsx", r"path must name a .npy, .npz, .csv, .tsv, .parquet or .pt file, got data.xlsx"),
        ("nowhere/x.npy", "path nowhere/x.npy is not a file: looked for /"),
    ],
)
def test_read_rows_refuses_a_path_that_names_no_file(path: str | None, message: str):
    with pytest.raises(ValueError, match=f"^{message}"):
        read_rows(path)
