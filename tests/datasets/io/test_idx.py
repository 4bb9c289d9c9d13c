"""IDX files: a file that holds anything else is named."""

import gzip
import re
from pathlib import Path

import numpy as np
import pytest

from ebm_cli.datasets import MNIST
from tests.image_files import IDX_NAMES, idx, idx_arrays, put_idx

IMAGES, LABELS, TEST_IMAGES, _ = IDX_NAMES
GOOD = idx(idx_arrays()[0])


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (IMAGES, b"", f"a {IMAGES} that is not an IDX file of bytes in 3 dimensions"),
        (IMAGES, b"\0\0\x0d\x03" + GOOD[4:], f"a {IMAGES} that is not an IDX file of bytes in 3 dimensions"),
        (IMAGES, GOOD[:-1], f"a {IMAGES} of {len(GOOD) - 17} bytes for shape [40, 28, 28]"),
        (IMAGES, GOOD + b"\0", f"a {IMAGES} of more than {len(GOOD) - 16} bytes for shape [40, 28, 28]"),
        (LABELS, idx(np.zeros(39, np.uint8)), f"40 images in {IMAGES}, and 39 labels in {LABELS}"),
        (LABELS, GOOD, f"a {LABELS} that is not an IDX file of bytes in 1 dimensions"),
        (TEST_IMAGES, idx(np.zeros((10, 9, 9), np.uint8)), "training and test images of different sizes, [28, 28] and"),
        (f"{IMAGES}.gz", GOOD, f"a {IMAGES}.gz that cannot be read: Not a gzipped file"),
        (f"{IMAGES}.gz", gzip.compress(GOOD)[:-9], f"a {IMAGES}.gz that cannot be read: Compressed file ended"),
    ],
)
def test_read_idx_names_a_file_that_holds_anything_else(name: str, data: bytes, message: str, tmp_path: Path):
    put_idx(tmp_path, packed=False)
    (tmp_path / name.removesuffix(".gz")).unlink()
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=rf"^root \S+ holds {re.escape(message)}"):
        MNIST(str(tmp_path))


def test_read_idx_names_the_one_missing_file(tmp_path: Path):
    put_idx(tmp_path, packed=False)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no t10k-labels-idx1-ubyte\.gz: put "):
        MNIST(str(tmp_path))
