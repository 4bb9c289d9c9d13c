"""Columns that number the rows."""

import numpy as np
import pytest

from ebm_cli.datasets.io.mapped import MappedRows
from ebm_cli.datasets.io.row_numbers import Numbering, numbered_columns

N = 50
RISING = np.cumsum(1 + np.arange(N) % 3)


def test_columns_that_number_the_rows_are_found():
    columns = [np.arange(N), 1.0 + np.arange(N), 5 + np.arange(N), 300 - 2 * np.arange(N), RISING]
    for chunk_numbers in (9, 10**6):
        found = numbered_columns(MappedRows(np.stack(columns, axis=1)), chunk_numbers=chunk_numbers)
        expected = [(0, 0, 49, 1), (1, 1, 50, 1), (2, 5, 54, 1), (3, 300, 202, -2), (4, 1, int(RISING[-1]), None)]
        assert found == [Numbering(*one) for one in expected]
        assert [one.is_count for one in found] == [True, True, False, False, False]


@pytest.mark.parametrize(
    "column",
    [
        np.full(N, 7),
        np.sort(np.arange(N) % 49),
        np.arange(N)[::-1] ** 2,
        -np.arange(N) / 10,
        np.random.default_rng(0).permutation(N) // 2,
        np.random.default_rng(0).permutation(N) * 100_000,
        np.random.default_rng(0).permutation(N) / 10,
        np.arange(N) % 2 == 1,
        np.where(np.arange(N) == 9, np.nan, np.arange(N)),
    ],
    ids=["constant", "repeated", "falling", "falling_tenths", "pairs", "sparse", "tenths", "truth", "gap"],
)
def test_control_measurements_number_no_rows(column: np.ndarray):
    assert numbered_columns(MappedRows(column[:, None]), chunk_numbers=9) == []


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint64, np.float32])
def test_shuffled_identifiers_are_found(dtype: type):
    """All whole numbers of a range, or most of them, each once."""
    rng = np.random.default_rng(0)
    for column in (100 + rng.permutation(N), rng.permutation(2 * N)[:N]):
        rows = MappedRows(column.astype(dtype)[:, None])
        expected = [Numbering(0, int(column.min()), int(column.max()), None, is_shuffled=True)]
        assert numbered_columns(rows) == numbered_columns(rows, chunk_numbers=9) == expected


def test_control_few_numbers_differ_by_chance():
    """Twelve numbers from 0 to 11, and fifty from a million, are all different with a chance above 3e-7."""
    rng = np.random.default_rng(0)
    for column in (rng.permutation(12), rng.permutation(1_000_000)[:N]):
        assert numbered_columns(MappedRows(column[:, None])) == []


def test_decimals_that_rise_are_found():
    column = np.cumsum(np.random.default_rng(0).random(N))
    for chunk_numbers in (9, 10**6):
        found = numbered_columns(MappedRows(column[:, None]), chunk_numbers=chunk_numbers)
        assert found == [Numbering(0, column[0], column[-1], None)]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint64, np.float32])
def test_steps_have_a_sign_in_every_dtype(dtype: type):
    (found,) = numbered_columns(MappedRows((200 - 3 * np.arange(N)).astype(dtype)[:, None]))
    assert found == Numbering(0, 200, 53, -3)


def test_few_rows_rise_by_chance():
    assert numbered_columns(MappedRows(np.array([[1], [2], [5], [7]]))) == []
    assert numbered_columns(MappedRows(np.array([[1], [3], [5]]))) == []
