"""The IDX files that MNIST was published in, and that sets made to replace it keep to.

Four bytes 0, 0, 8 (for bytes), d; then d sizes of four bytes each, the first byte the highest; then the numbers, one
byte each, the last index moving fastest. Source: LeCun, Cortes & Burges, "The MNIST database of handwritten digits".
"""

import gzip
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ebm_cli.datasets.io.download import find
from ebm_cli.datasets.io.images import Pictures
from ebm_cli.system.memory import format_bytes, max_array_bytes


def read_idx(root: str, url: str, published: Mapping[str, str], download: bool) -> Pictures:
    """The images [·, 1, height, width] of four files under a folder, as published (.gz) or unpacked.

    Args:
        root: the folder.
        url: of the folder that they are published in.
        published: the files' names and checksums: training images, training labels, test images, test labels.
        download: fetch those that are not there.

    Raises:
        ValueError: a file that holds something else.
        OSError: a file that is not there, or cannot be fetched.
    """
    files = [find(root, (name.removesuffix(".gz"), name), url, md5, download) for name, md5 in published.items()]
    train, test = (_labelled(root, images, labels) for images, labels in (files[:2], files[2:]))
    if train[0].shape[1:] != test[0].shape[1:]:
        shapes = " and ".join(str(list(x.shape[2:])) for x in (train[0], test[0]))
        raise ValueError(f"root {root} holds training and test images of different sizes, {shapes}")
    return Pictures.joined([train], test)


def _labelled(root: str, images: Path, labels: Path) -> tuple[Tensor, Tensor]:
    x, y = _array(root, images, 3), _array(root, labels, 1)
    if len(x) != len(y):
        raise ValueError(f"root {root} holds {len(x)} images in {images.name}, and {len(y)} labels in {labels.name}")
    return x[:, None], y


def _array(root: str, file: Path, n_dims: int) -> Tensor:
    what = f"root {root} holds a {file.name}"
    if not file.is_file():
        raise ValueError(f"{what} that is no file")
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as opened:
            start = opened.read(4 + 4 * n_dims)
            if start[:4] != bytes([0, 0, 8, n_dims]) or len(start) < 4 + 4 * n_dims:
                raise ValueError(f"{what} that is no IDX file of bytes in {n_dims} dimensions")
            shape = struct.unpack(f">{n_dims}I", start[4:])
            size = math.prod(shape)
            if size > max_array_bytes():
                raise ValueError(
                    f"{what} of {format_bytes(size)}: at most {format_bytes(max_array_bytes())} are read into memory"
                )
            # No more than is asked for: a .gz unpacks to a thousand times its size.
            data = opened.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{what} that cannot be read: {error}") from None
    if len(data) != size:
        more = "more than " if len(data) > size else ""
        raise ValueError(f"{what} of {more}{min(len(data), size)} bytes for shape {list(shape)}")
    return torch.from_numpy(np.frombuffer(data, np.uint8).reshape(shape).copy())
