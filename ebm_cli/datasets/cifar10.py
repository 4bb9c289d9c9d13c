"""Photographs of 32 × 32 pixels in ten classes."""

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
import torch
from torch import Tensor

from ebm_cli.datasets.finite import Finite, split
from ebm_cli.datasets.io.download import find
from ebm_cli.datasets.io.images import TOP, Pictures
from ebm_cli.datasets.io.safe_pickle import read_dict
from ebm_cli.system.memory import format_bytes

FOLDER = "cifar-10-batches-py"
BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
SHAPE = (3, 32, 32)
LARGEST = 2**28
"""Bytes of a batch above which it is none: the published ones have 31 million."""


@final
class CIFAR10(Finite):
    """50,000 photographs to train and validate on, 10,000 held out, as published: bytes, classes 0 … 9.

    Source: Krizhevsky (2009), "Learning multiple layers of features from tiny images", and its page's checksum. The
    batches are pickles; nothing in them is run.

    Args:
        root: the folder of cifar-10-python.tar.gz, or of the cifar-10-batches-py that it unpacks to.
        download: fetch the archive if neither is there, and hold it against its published checksum.
        validation_fraction: share of the training images that training is watched by, in (0, 1).
        n_train: images of the training set, ≥ 2; None takes all that are left.
        standardize: channels in [−1, 1], by one map for all of them; else the identity.
        dequantise: uniform noise of one unit on every number (see `File`), which then reaches from 0 to 256.
        noise_std: standard deviation of Gaussian noise on every number, of 255, ≥ 0; fresh whenever a row is served.
        seed: of the split, the order of the held-out rows and the fixed rows' noise, ≥ 0.

    Shapes: x [B, 3, 32, 32], channels red, green, blue.

    Raises:
        ValueError: a file that holds something else.
        OSError: a file that is not there, or cannot be fetched; the message says where to put it.
    """

    URL: ClassVar[str] = "https://www.cs.toronto.edu/~kriz/"
    ARCHIVE: ClassVar[str] = "cifar-10-python.tar.gz"
    MD5: ClassVar[str] = "c58f30108f718f92721af3b95e74349a"

    def __init__(
        self,
        root: str = "data/cifar10",
        download: bool = False,
        validation_fraction: float = 0.1,
        n_train: int | None = None,
        standardize: bool = True,
        dequantise: bool = True,
        noise_std: float = 0.0,
        seed: int = 0,
    ) -> None:
        place = find(root, (FOLDER, self.ARCHIVE), self.URL, self.MD5, download)
        found = dict(_unpacked(root, place) if place.is_dir() else _packed(root, place))
        for name in BATCHES:
            if name not in found:
                raise FileNotFoundError(f"root {root} holds no {name} in {place.name}")
        *train, test = (found[name] for name in BATCHES)
        pictures = Pictures.joined(train, test)
        super().__init__(
            pictures.x,
            split(pictures.n_rows, validation_fraction, None, n_train, seed, pictures.n_test),
            labels=pictures.labels,
            top=TOP,
            standardize=standardize,
            dequantise=dequantise,
            noise_std=noise_std,
            seed=seed,
        )


Batch = tuple[Tensor, Tensor]


def _unpacked(root: str, folder: Path) -> Iterator[tuple[str, Batch]]:
    for name in BATCHES:
        if (folder / name).is_file():
            _check_size(root, name, (folder / name).stat().st_size)
            yield name, _batch(root, name, (folder / name).read_bytes())


def _packed(root: str, archive: Path) -> Iterator[tuple[str, Batch]]:
    """From the archive itself: nothing is unpacked to a disk, so no name in it can lead out of a folder."""
    if not archive.is_file():
        raise ValueError(f"root {root} holds a {archive.name} that is no file")
    try:
        with tarfile.open(archive) as members:
            for member in members:
                # Of every member, because those that are passed over are unpacked too.
                _check_size(root, member.name, member.size)
                folder, _, name = member.name.rpartition("/")
                # No link: those may go round in circles.
                wanted = folder == FOLDER and name in BATCHES and member.isfile()
                file = members.extractfile(member) if wanted else None
                if file is not None:
                    yield name, _batch(root, name, file.read())
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"root {root} holds a {archive.name} that cannot be read: {error}") from None


def _check_size(root: str, name: str, size: int) -> None:
    if size > LARGEST:
        raise ValueError(f"root {root} holds a {name} of {format_bytes(size)}: a batch has {format_bytes(31_000_000)}")


def _batch(root: str, name: str, data: bytes) -> Batch:
    """Images [n, 3, 32, 32] and labels [n] of one file: {data: bytes [n, 3072], labels: n numbers, …}."""
    try:
        found: dict[str, Any] = read_dict(data)
        images, labels = found["data"], found["labels"]
    except KeyError as error:
        raise ValueError(f"root {root} holds a {name} without {error}") from None
    except ValueError as error:
        raise ValueError(f"root {root} holds a {name} that cannot be read: {error}") from None
    kinds = isinstance(images, np.ndarray) and isinstance(labels, list) and all(isinstance(y, int) for y in labels)
    if not kinds or images.shape != (len(labels), 3 * 32 * 32) or not set(labels) <= set(range(10)):
        raise ValueError(f"root {root} holds a {name} that is no batch of {list(SHAPE)} images with classes 0 to 9")
    return torch.from_numpy(images.reshape(-1, *SHAPE).copy()), torch.tensor(labels)
