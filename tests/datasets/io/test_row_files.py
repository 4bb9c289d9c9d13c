"""Rows of a user's file: numbers of any kind are read, and anything else is named by its place."""

import errno
from pathlib import Path

import numpy as np
import pytest
import torch

from ebm_cli.datasets.io.row_files import READERS, read_rows
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
        (
            "x.npy",
            with_value(np.nan),
            r"holds numbers that are not finite in column 2 .*nan in row 7, counted from 0\): remove",
        ),
        (
            "x.npz",
            {"x": with_value(-np.inf)},
            r"holds numbers that are not finite in column 2 .*-inf in row 7, counted from 0\): remove",
        ),
        (
            "x.pt",
            torch.from_numpy(with_value(np.inf)),
            r"holds numbers that are not finite in column 2 .*inf in row 7, counted from 0\): remove",
        ),
        (
            "x.npy",
            np.full((5, 2), 1e300),
            r"holds numbers beyond float32 .* in column 0 .*1e\+300 in row 0, counted from 0, and 4 more",
        ),
        ("x.npy", np.array([["a", "b"]]), "must hold real numbers, got dtype <U1"),
        ("x.npy", np.ones((5, 2), dtype=complex), "must hold real numbers, got dtype complex128"),
        ("x.npy", np.ones((0, 3)), r"is empty: shape \[0, 3\]"),
        (
            "x.npy",
            np.ones((2, 5, 5, 5)),
            r"must hold rows and columns, \[N, D\], or images, .*got shape \[2, 5, 5, 5\]",
        ),
        ("x.npy", np.array(1.0), r"must hold rows and columns, \[N, D\], got one number"),
    ],
)
def test_read_rows_names_the_fault_and_its_place(name: str, content: object, message: str, tmp_path: Path):
    assert_refused(tmp_path, name, content, message)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (None, r"path must name a .npy, .npz, .csv, .* or .pt file$"),
        ("data.xls", r"path must name a .npy, .* file, got data.xls; save it as .xlsx or .csv$"),
        ("https://a.b/c.csv", r"path must name a file on this machine, got https://a.b/c.csv: download it first$"),
        ("nowhere/x.npy", "path nowhere/x.npy is not a file: looked for /"),
    ],
)
def test_read_rows_refuses_a_path_that_names_no_file(path: str | None, message: str):
    with pytest.raises(ValueError, match=f"^{message}"):
        read_rows(path)


@pytest.mark.parametrize("kind", sorted(READERS))
def test_file_without_permission_is_not_called_damaged(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whichever library opens it; the owner of a test may be allowed to read everything."""

    def refuse(*_args: object, **_keys: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    for suffixes, library in (((".parquet", ".feather", ".arrow"), "pyarrow"), ((".xlsx",), "openpyxl")):
        if kind in suffixes:
            pytest.importorskip(library)
    path = write(tmp_path, f"x{kind}", b"1,2\n")
    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("io.open", refuse)
    with pytest.raises(ValueError, match=r"^path \S+ must not be read: its permissions do not allow it$"):
        read_rows(path)
