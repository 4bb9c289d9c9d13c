"""Files of `ebm sample`: rows and masks of the right shape and values, or an error that begins with the key."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ebm_cli.datasets.io.conditioning_files import read_mask, read_rows
from ebm_cli.errors import UserError
from tests.datasets.support import write

ROWS = np.array([[1.0, 2.0], [np.nan, 4.0]])
MASK = np.array([True, False])


@pytest.mark.parametrize(("name", "content"), [("x.npy", ROWS), ("x.npz", {"x": ROWS, "other": ROWS[:1]})])
def test_read_rows_reads_npy_and_npz_with_missing_values(name: str, content: object, tmp_path: Path) -> None:
    rows = read_rows(write(tmp_path, name, content), (2,))
    assert rows.dtype == torch.float64
    torch.testing.assert_close(rows, torch.from_numpy(ROWS), equal_nan=True)


@pytest.mark.parametrize(("name", "content"), [("m.npy", MASK), ("m.npz", {"mask": MASK.astype(np.int8)})])
def test_read_mask_reads_one_mask_for_all_rows(name: str, content: object, tmp_path: Path) -> None:
    assert read_mask(write(tmp_path, name, content), (2,)).tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.ones((3, 4)), r"must have rows of shape \(2,\), got an array of shape \(3, 4\)$"),
        (np.ones((0, 2)), r"must have rows of shape \(2,\), got an array of shape \(0, 2\)$"),
        (np.array([["a", "b"]]), r"must hold numbers, got an array of <U1$"),
        (np.array([[1.0, 2.0], [np.inf, 4.0]]), r"row 1 holds a number that is not finite$"),
        (b"not an array", r"cannot be read as \.npy, or as \.npz with an array x \("),
    ],
)
def test_read_rows_refuses_anything_else(content: object, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, "x.npy", content)
    with pytest.raises(UserError, match=rf"^init={path}: {message}"):
        read_rows(path, (2,))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.ones((3, 4)), r"must have the shape \(2\) or \(N, 2\), got \(3, 4\)$"),
        (np.array([0.5, 1.0]), r"must hold true/1 \(keep\) and false/0 \(sample\), got float64 such as 0\.5$"),
        (np.array(["a", "b"]), r"must hold true/1 \(keep\) and false/0 \(sample\), got <U1$"),
    ],
)
def test_read_mask_refuses_anything_else(content: object, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, "m.npy", content)
    with pytest.raises(UserError, match=rf"^mask={path}: {message}"):
        read_mask(path, (2,))


def test_readers_refuse_a_missing_file() -> None:
    with pytest.raises(
        UserError, match=r"^init=none\.npy: must be annealed, noise, data, or an \.npy or \.npz file that exists$"
    ):
        read_rows("none.npy", (2,))
    with pytest.raises(UserError, match=r"^mask=none\.npy: must be an \.npy or \.npz file that exists$"):
        read_mask("none.npy", (2,))
