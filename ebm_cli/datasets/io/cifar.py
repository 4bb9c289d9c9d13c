"""CIFAR-10's published batches, read from their archive or from the folder that it unpacks to.

A batch is a pickled dictionary {data: bytes [n, 3072], labels: n numbers, …}; it is read without running it.
"""

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ebm_cli.datasets.io.download import find
from ebm_cli.datasets.io.images import ImageFiles
from ebm_cli.datasets.io.safe_pickle import read_dict
from ebm_cli.system.memory import format_bytes

FOLDER = "cifar-10-batches-py"
BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
SHAPE = (3, 32, 32)
LARGEST = 2**28
"""Bytes above which a file is not read as a batch: the published ones have 31 million."""

Batch = tuple[Tensor, Tensor]
"""Images [n, 3, 32, 32], bytes, and labels [n] of one file."""


def read_cifar10(root: str, url: str, archive: str, md5: str, download: bool) -> ImageFiles:
    """Read the images of all six batches.

    Args:
        root: the folder of the archive, or of the folder that it unpacks to.
        url: of the folder that the archive is published in, ending in a slash.
        archive: name of the archive.
        md5: its published checksum.
        download: download the archive if neither is there.

    Raises:
        ValueError: a file that holds anything else.
        OSError: a file that is missing, or cannot be downloaded.
    """
    place = find(root, (FOLDER, archive), url, md5, download)
    batches = dict(_from_folder(root, place) if place.is_dir() else _from_archive(root, place))
    for name in BATCHES:
        if name not in batches:
            raise FileNotFoundError(f"root {root} holds no {name} in {place.name}")
    *train, test = (batches[name] for name in BATCHES)
    return ImageFiles.join(train, test)


def _from_folder(root: str, folder: Path) -> Iterator[tuple[str, Batch]]:
    for name in BATCHES:
        if (folder / name).is_file():
            _require_size(root, name, (folder / name).stat().st_size)
            yield name, _batch(root, name, (folder / name).read_bytes())


def _from_archive(root: str, archive: Path) -> Iterator[tuple[str, Batch]]:
    """Read from the archive itself: nothing is unpacked to a disk, so that no name in it can escape a folder."""
    if not archive.is_file():
        raise ValueError(f"root {root}: {archive.name} in it is not a regular file")
    try:
        with tarfile.open(archive) as members:
            for member in members:
                # Every member is limited, because those that are skipped are decompressed too.
                _require_size(root, member.name, member.size)
                folder, _, name = member.name.rpartition("/")
                # Links are not followed, because they may form a cycle.
                is_batch = folder == FOLDER and name in BATCHES and member.isfile()
                file = members.extractfile(member) if is_batch else None
                if file is not None:
                    yield name, _batch(root, name, file.read())
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"root {root} holds a {archive.name} that cannot be read: {error}") from None


def _require_size(root: str, name: str, size: int) -> None:
    if size > LARGEST:
        raise ValueError(f"root {root} holds a {name} of {format_bytes(size)}: a batch has {format_bytes(31_000_000)}")


def _batch(root: str, name: str, data: bytes) -> Batch:
    """The images and labels of one file."""
    try:
        entries: dict[str, Any] = read_dict(data)
        images, labels = entries["data"], entries["labels"]
    except KeyError as error:
        raise ValueError(f"root {root} holds a {name} without {error}") from None
    except ValueError as error:
        raise ValueError(f"root {root} holds a {name} that cannot be read: {error}") from None
    is_typed = isinstance(images, np.ndarray) and isinstance(labels, list) and all(isinstance(y, int) for y in labels)
    if not is_typed or images.shape != (len(labels), 3 * 32 * 32) or not set(labels) <= set(range(10)):
        raise ValueError(f"root {root} holds a {name} that is not a batch of {list(SHAPE)} images with classes 0 to 9")
    return torch.from_numpy(images.reshape(-1, *SHAPE).copy()), torch.tensor(labels)
