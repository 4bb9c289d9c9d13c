"""IDX files, the format of MNIST and of the sets that replace it.

Four bytes 0, 0, 8 (for bytes), d; then d sizes of four bytes each, most significant byte first; then the numbers, one
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
from ebm_cli.datasets.io.images import ImageFiles
from ebm_cli.system.memory import format_bytes, max_array_bytes


def read_idx(root: str, url: str, published: Mapping[str, str], download: bool) -> ImageFiles:
    """Read images [·, 1, height, width] from four files in a folder, as published (.gz) or unpacked.

    Args:
        root: the folder.
        url: of the folder that they are published in.
        published: the files' names and checksums: training images, training labels, test images, test labels.
        download: download missing files.

    Raises:
        ValueError: a file that holds anything else.
        OSError: a file that is missing, or cannot be downloaded.
    """
    files = [find(root, (name.removesuffix(".gz"), name), url, md5, download) for name, md5 in published.items()]
    train, test = (_labelled(root, images, labels) for images, labels in (files[:2], files[2:]))
    if train[0].shape[1:] != test[0].shape[1:]:
        shapes = " and ".join(str(list(x.shape[2:])) for x in (train[0], test[0]))
        raise ValueError(f"root {root} holds training and test images of different sizes, {shapes}")
    return ImageFiles.join([train], test)


def _labelled(root: str, images: Path, labels: Path) -> tuple[Tensor, Tensor]:
    x, y = _array(root, images, 3), _array(root, labels, 1)
    if len(x) != len(y):
        raise ValueError(f"root {root} holds {len(x)} images in {images.name}, and {len(y)} labels in {labels.name}")
    return x[:, None], y


def _array(root: str, file: Path, n_dims: int) -> Tensor:
    """The bytes of one file, in `n_dims` dimensions."""
    subject = f"root {root} holds a {file.name}"
    if not file.is_file():
        raise ValueError(f"{subject} that is not a file")
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as opened:
            header = opened.read(4 + 4 * n_dims)
            if header[:4] != bytes([0, 0, 8, n_dims]) or len(header) < 4 + 4 * n_dims:
                raise ValueError(f"{subject} that is not an IDX file of bytes in {n_dims} dimensions")
            shape = struct.unpack(f">{n_dims}I", header[4:])
            size = math.prod(shape)
            if size > (largest := max_array_bytes()):
                limit = format_bytes(largest)
                raise ValueError(f"{subject} of {format_bytes(size)}: at most {limit} are read into memory")
            # Not one byte more than needed is unpacked: a .gz can unpack to a thousand times its size.
            data = opened.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{subject} that cannot be read: {error}") from None
    if len(data) != size:
        more = "more than " if len(data) > size else ""
        raise ValueError(f"{subject} of {more}{min(len(data), size)} bytes for shape {list(shape)}")
    return torch.from_numpy(np.frombuffer(data, np.uint8).reshape(shape).copy())
