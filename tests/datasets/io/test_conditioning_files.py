"""Files of `ebm sample`: rows and masks of the right shape and values, or an error that begins with the key."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ebm_cli.datasets.io.conditioning_files import read_mask, read_matched, read_rows
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
        UserError, match=r"^init=none\.npy: must be annealed, noise, data, or a file of rows that exists$"
    ):
        read_rows("none.npy", (2,))
    with pytest.raises(UserError, match=r"^mask=none\.npy: must be an \.npy or \.npz file that exists$"):
        read_mask("none.npy", (2,))


def table(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("a,b\n1,2\n3,4.5\n,6\n", None),
        ("b,a\n2,1\n4.5,3\n6,\n", None),
        ("1,2\n3,4.5\n,6\n", None),
        ("b,c,a\n2,0.5,1\n4.5,0.5,3\n6,0.5,\n", "column c left out, which the run was not trained on"),
        ("b,city,a\n2,Rome,1\n4.5,Oslo,3\n6,Oslo,\n", "only the columns of the run are read"),
    ],
    ids=["in order", "swapped", "without names", "beside numbers", "beside text"],
)
def test_read_matched_finds_the_columns_of_the_run(text: str, note: str | None, tmp_path: Path) -> None:
    file = table(tmp_path / "x.csv", text)
    rows, found = read_matched("init", file, (2,), ("a", "b"))
    torch.testing.assert_close(
        rows, torch.tensor([[1.0, 2.0], [3.0, 4.5], [np.nan, 6.0]], dtype=torch.float64), equal_nan=True
    )
    assert found == (None if note is None else f"init={file}: {note}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,c\n1,2\n3,4\n", "has no column b: its columns are a, c, the run was trained on a, b"),
        ("1.5,2,3\n3,4.5,5\n", r"has 3 columns, the run was trained on 2 columns \(a, b\)"),
        ("a,b\n1,x\n3,y\n", "holds text"),
    ],
)
def test_read_matched_refuses_other_columns(text: str, message: str, tmp_path: Path) -> None:
    file = table(tmp_path / "x.csv", text)
    with pytest.raises(UserError, match=f"^data={file}: {message}"):
        read_matched("data", file, (2,), ("a", "b"))
