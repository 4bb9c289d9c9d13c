"""Small image sets in the file formats of the published ones."""

import gzip
import io
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

IDX_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
CIFAR_NAMES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")


def put_image_sets(folder: Path) -> None:
    """Write each published set where its option looks for it, under the folder `data`."""
    for name in ("mnist", "fashion_mnist"):
        put_idx(folder / name)
    put_cifar(folder / "cifar10")


# --- IDX --------------------------------------------------------------------------------------------------------------


def idx_arrays(n: int = 40, n_test: int = 10, side: int = 28, seed: int = 0) -> list[Bytes]:
    """Training images, training labels, test images, test labels; every pixel of image i is i."""
    rng = np.random.default_rng(seed)
    parts: list[Bytes] = []
    for first, count in ((0, n), (n, n_test)):
        own = np.arange(first, first + count, dtype=np.uint8)
        parts += [np.broadcast_to(own[:, None, None], (count, side, side)), rng.integers(0, 10, count, np.uint8)]
    return parts


def idx(array: Bytes) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def put_idx(folder: Path, *, packed: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(IDX_NAMES, idx_arrays(), strict=True):
        data = idx(array)
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(data) if packed else data)


# --- CIFAR ------------------------------------------------------------------------------------------------------------


class Python2Pickler(pickle._Pickler):
    """Writes str and bytes as strings of Python 2, as the published batches hold them."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_string(self, text: bytes | str) -> None:
        data = text.encode("ascii") if isinstance(text, str) else text
        self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        self.memoize(text)

    dispatch[bytes] = dispatch[str] = save_string


class Array:
    """An array of bytes that is pickled as numpy pickled it under Python 2."""

    def __init__(self, array: Bytes) -> None:
        self.array = array

    def __reduce__(self) -> tuple[Any, ...]:
        from numpy._core.multiarray import _reconstruct

        dtype = (1, self.array.shape, np.dtype(np.uint8), False, self.array.tobytes())
        return _reconstruct, (np.ndarray, (0,), b"b"), dtype


def pickled(value: object) -> bytes:
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(value)
    # The module had another name when the batches were written; a pickle stores no length of a name.
    return file.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def cifar_batch(first: int, n: int = 8) -> dict[str, Any]:
    """Image i is i in the red channel, i + 100 in the green one, 255 − i in the blue one; its class is i modulo 10."""
    own = np.arange(first, first + n, dtype=np.uint8)[:, None].repeat(1024, axis=1)
    data = np.concatenate([own, own + 100, 255 - own], axis=1)
    labels = [i % 10 for i in range(first, first + n)]
    return {"batch_label": f"batch of {first}", "labels": labels, "data": Array(data), "filenames": ["x.png"] * n}


def cifar_files() -> dict[str, bytes]:
    return {name: pickled(cifar_batch(8 * i)) for i, name in enumerate(CIFAR_NAMES)}


def archive(files: dict[str, bytes], folder: str = "cifar-10-batches-py") -> bytes:
    """A .tar.gz of these files in a folder."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


def put_cifar(root: Path, *, packed: bool = True) -> None:
    files = cifar_files()
    if packed:
        root.mkdir(parents=True, exist_ok=True)
        (root / "cifar-10-python.tar.gz").write_bytes(archive(files))
        return
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
