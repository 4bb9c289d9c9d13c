"""Numbers that float32 merges: refused in every kind of file, whole numbers also beyond float64."""

from pathlib import Path

import numpy as np
import pytest

from ebm_cli.datasets.io.contents import ColumnWords
from ebm_cli.datasets.io.mapped import MappedRows
from ebm_cli.datasets.io.precision import finite_problems, precision_problems
from tests.datasets.support import assert_refused, read_text

N = 400
X = np.random.default_rng(0).normal(size=N)


@pytest.mark.parametrize(
    "numbers",
    [
        17 * 10**17 + np.arange(N) % 4,
        10**15 + np.arange(N),
        (10**15 + np.arange(N)).astype(np.float64),
        2**63 + np.arange(N).astype(np.uint64),
        -(2**63) + np.arange(N),
        1e9 + np.arange(N),
        52.52 + 1e-7 * X,
        1e-50 * X,
    ],
)
def test_numbers_that_float32_merges_are_refused(numbers: np.ndarray, tmp_path: Path):
    (found,) = precision_problems(MappedRows(numbers[:, None]))
    assert (found.column, found.rows) == (0, None)
    message = r".*holds numbers that float32 rounds too coarsely in column .*from \S+ to \S+\): "
    assert_refused(tmp_path, "x.npy", numbers[:, None], message)
    with pytest.raises(ValueError, match=message):
        read_text(
            tmp_path, "id,x\n" + "".join(f"{a!r},{x!r}\n" for a, x in zip(numbers.tolist(), X.tolist(), strict=True))
        )


@pytest.mark.parametrize(
    "numbers",
    [np.full(N, 1e15), np.full(N, 17 * 10**17), 0.1 + 1e-16 * X, 1e-19 * X, 1e9 + 1e8 * X, 2**62 * (np.arange(N) % 2)],
)
def test_control_constants_and_wide_columns_are_read(numbers: np.ndarray):
    assert precision_problems(MappedRows(numbers[:, None])) == []


def test_numbers_that_are_missing_hide_no_coarse_column():
    numbers = np.stack([1e9 + np.arange(N), np.full(N, np.nan), np.where(np.arange(N) % 9, np.nan, 1e9 + np.arange(N))])
    assert [found.column for found in precision_problems(MappedRows(numbers.T), chunk_numbers=30)] == [0, 2]


def test_coarse_columns_are_named_by_its_place_in_the_file():
    rows = MappedRows(1e9 * np.ones((40, 3)) + np.arange(40)[:, None] * np.array([1.0, 1e6, 1.0]), [1, 2])
    (found,) = precision_problems(rows, ColumnWords(["a", "b", "c"], [1, 2]), chunk_numbers=9)
    assert (found.column, found.example) == (2, "from 1000000000 to 1000000039")


def test_non_finite_number_is_found_behind_the_first_chunk():
    rows = np.zeros((50, 3))
    rows[[7, 9], 2] = np.nan
    (found,) = finite_problems(MappedRows(rows), chunk_numbers=9)
    assert (found.column, found.example) == (2, "nan in row 7, counted from 0, and 1 more like it")
    assert finite_problems(MappedRows(rows), missing=True) == []


@pytest.mark.parametrize("scale", [1e39, -1e200])
def test_numbers_beyond_float32_are_refused_with_the_cure(scale: float, tmp_path: Path):
    assert_refused(
        tmp_path,
        "x.npy",
        scale * (2 + np.arange(20.0)[:, None]),
        r"holds numbers beyond float32 .*: divide them by a .*",
    )
