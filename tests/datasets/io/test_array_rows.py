"""Arrays as rows: columns, records, images, and the arrays of an .npz."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ebm_cli.datasets import File
from ebm_cli.datasets.io import arrays
from ebm_cli.datasets.io.contents import Reading
from ebm_cli.datasets.io.mapped import MappedRows
from ebm_cli.datasets.io.row_files import read_rows
from tests.datasets.support import ROWS, write

Y = np.arange(50) % 3
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("mapped_from", [0, 10**9])
def test_columns_of_an_array_are_chosen_by_position(mapped_from: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(arrays.load_array, "__defaults__", (None, mapped_from))
    path = write(tmp_path, "x.npy", np.column_stack([ROWS, Y]))
    read = read_rows(path, Reading(columns=(2, 0), label=-1))
    assert isinstance(read.rows, MappedRows) is (mapped_from == 0)
    assert read.labels is not None
    assert torch.equal(read.rows[:], torch.from_numpy(ROWS[:, [2, 0]]))
    assert torch.equal(read.labels, torch.from_numpy(Y))
    assert read.description == "50 rows × 2 columns from x.npy; classes in -1: 0 (17), 1 (17), 2 (16)"


@pytest.mark.parametrize(
    ("keys", "shape"),
    [({"array": "X"}, (50, 3)), ({"array": "X", "label": "y"}, (50, 3)), ({"array": "y"}, (50, 1))],
)
def test_array_of_an_npz_is_chosen_by_name(keys: dict[str, Any], shape: tuple[int, ...], tmp_path: Path):
    for name in ("x.npz", "x.pt"):
        content = {"X": ROWS, "y": Y, "z": ROWS[:, 0]}
        path = str(tmp_path / name)
        if name == "x.pt":
            torch.save({key: torch.from_numpy(value) for key, value in content.items()}, path)
        else:
            write(tmp_path, name, content)
        read = read_rows(path, Reading(**keys))
        assert read.rows.shape == shape
        assert (read.labels is None) == ("label" not in keys)


def test_npz_of_rows_and_classes_needs_no_array(tmp_path: Path):
    path = write(tmp_path, "x.npz", {"data": ROWS, "target": Y})
    data = File(path, label="target")
    found = data.labelled("train", 10)
    assert found is not None
    assert data.shape == (3,)
    with pytest.raises(ValueError, match=r"must hold one array, got 2: data, target; dataset.array=data chooses one"):
        File(path)
    with pytest.raises(ValueError, match=r"must hold an array dta, has data, target; did you mean data\?"):
        File(path, array="dta")


def test_records_are_columns_with_names(tmp_path: Path):
    records = np.array([(1.5, 2, b"u"), (2.5, 3, b"v"), (3.5, 4, b"u"), (4.0, 6, b"v")], "f8,>i4,S1")
    read = read_rows(write(tmp_path, "x.npy", records), Reading(drop=("f2",)))
    assert read.column_names == ("f0", "f1")
    assert read.rows[:].tolist() == [[1.5, 2.0], [2.5, 3.0], [3.5, 4.0], [4.0, 6.0]]


@pytest.mark.parametrize(
    ("images", "shape", "pixel_range"),
    [
        (RNG.integers(0, 256, (20, 8, 6), np.uint8), (1, 8, 6), (0, 255)),
        (RNG.integers(0, 256, (20, 8, 6, 3), np.uint8), (3, 8, 6), (0, 255)),
        (RNG.integers(0, 256, (20, 8, 6, 1), np.uint8), (1, 8, 6), (0, 255)),
        (RNG.integers(0, 256, (20, 3, 8, 6), np.uint8), (3, 8, 6), (0, 255)),
        (RNG.integers(0, 17, (20, 8, 8), np.int64), (1, 8, 8), (0, 16)),
        (RNG.random((20, 8, 8)), (1, 8, 8), (0, 1)),
        (np.clip(RNG.normal(size=(20, 8, 8)), -1, 1), (1, 8, 8), (-1, 1)),
    ],
)
def test_images_have_their_channels_first(
    images: np.ndarray, shape: tuple[int, ...], pixel_range: tuple[float, float], tmp_path: Path
):
    path = write(tmp_path, "x.npy", images)
    read = read_rows(path)
    assert (read.rows.shape, read.pixel_range) == ((20, *shape), pixel_range)
    first = (
        images[0] if images.ndim == 3 else images[0] if shape[0] == images.shape[1] else np.moveaxis(images[0], 2, 0)
    )
    assert torch.equal(read.rows[:][0], torch.from_numpy(np.asarray(first, np.float32)).view(shape))
    data = File(path)
    assert float(data.reference.min()) >= -1
    assert float(data.reference.max()) <= 1
    with pytest.raises(ValueError, match=r"^columns must be null for images"):
        File(path, columns=[0])


def test_images_of_shares_are_not_dequantised(tmp_path: Path):
    path = write(tmp_path, "x.npy", RNG.random((20, 8, 8)))
    with pytest.raises(ValueError, match=r"^dequantise must be false"):
        File(path, dequantise=True)


@pytest.mark.parametrize("shape", [(20, 3, 8, 3), (20, 1, 9, 4), (20, 8, 6, 3), (20, 3, 8, 6)])
def test_channels_that_may_be_either_axis_are_said(shape: tuple[int, ...], tmp_path: Path):
    """The last axis is taken; with the channels moved there, as the sentence says, nothing is left to be said."""
    x = RNG.integers(0, 256, shape, np.uint8)
    read = read_rows(write(tmp_path, "x.npy", x))
    said = f"the last axis of {list(shape)} was taken for the {shape[3]} channels"
    assert (said in read.description) == (max(shape[1], shape[3]) <= 4)
    if said in read.description:
        assert torch.equal(read.rows[:], torch.from_numpy(np.moveaxis(x, 3, 1).astype(np.float32)))
        moved = read_rows(write(tmp_path, "y.npy", np.moveaxis(x, 1, 3)))
        assert "was taken for" not in moved.description
        assert torch.equal(moved.rows[:], torch.from_numpy(x.astype(np.float32)))


def test_label_that_images_lack_is_refused(tmp_path: Path):
    images = RNG.integers(0, 256, (20, 8, 8), np.uint8)
    for path in (write(tmp_path, "x.npy", images), write(tmp_path, "x.npz", {"x": images})):
        with pytest.raises(
            ValueError, match=r"^label=y: names no array of the file; images have no column of classes$"
        ):
            read_rows(path, Reading(label="y"))
