"""Arrays of numpy: read or mapped, and refused if they hold anything else."""

from pathlib import Path

import numpy as np
import pytest

from ebm_cli.datasets.io.arrays import load_array
from tests.datasets.support import ROWS, assert_refused, write


@pytest.mark.parametrize("mapped_from", [0, 10**9])
def test_load_array_maps_large_files_only(mapped_from: int, tmp_path: Path):
    array = load_array(Path(write(tmp_path, "x.npy", ROWS)), mapped_from=mapped_from)
    assert isinstance(array, np.memmap) is (mapped_from == 0)
    assert np.array_equal(array, ROWS)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.npy", np.array([[1.0, "a"]], dtype=object), "holds Python objects, not numbers"),
        ("x.npz", {"x": np.array([[1.0, "a"]], dtype=object)}, "holds Python objects, not numbers"),
        ("x.npy", b"not an array", "cannot be read as .npy"),
        ("x.npy", b"", "cannot be read as .npy"),
        ("x.npz", b"not a zip", "cannot be read as .npz"),
        ("x.npz", {"a": ROWS, "b": ROWS}, "must hold one array, got 2: a, b"),
    ],
)
def test_read_array_refuses_anything_else(name: str, content: object, message: str, tmp_path: Path):
    assert_refused(tmp_path, name, content, message)
