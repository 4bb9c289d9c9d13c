"""Arrays from files, each kind of file by its reader. Nothing that a file holds is run: it is numbers, or refused.

Text has a module of its own, `text`; `file` chooses the reader and looks at the numbers.
"""

import importlib
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ebm_cli.system.memory import format_bytes, max_array_bytes

ZIP = (b"PK\x03\x04", b"PK\x05\x06")
"""How a zip archive begins, and an empty one."""
MAPPED_FROM = 2**24
"""Bytes of a .npy from which it is mapped. A smaller one is read, and may be overwritten while a run trains on it."""


class Refused(Exception):
    """A file that holds something else than rows of numbers; the message goes on after the file's name."""


class Found(NamedTuple):
    """What a file holds, and how messages call its places: columns by their names, rows by their lines."""

    array: np.ndarray[Any, Any]
    names: Sequence[str] | None = None
    place: Callable[[int], str] = "row {}".format


def column(j: int, names: Sequence[str] | None) -> str:
    """A column by its position (from 0) and, where the file gives one, its name."""
    return f"column {j} ({names[j]})" if names and j < len(names) else f"column {j}"


def read_npy(file: Path) -> Found:
    """The array of a .npy, mapped where it is large."""
    return Found(load(file))


def read_npz(file: Path) -> Found:
    """The one array of a .npz."""
    return Found(load(file))


def load(file: Path, name: str | None = None) -> np.ndarray[Any, Any]:
    """The array of a .npy, mapped where it is large; or of a .npz that of this name, or its only one.

    Nothing is read before what the file says of its size fits: a .npy into the file, an array of a .npz into memory.

    Raises:
        Refused: anything else, Python objects, or an array that unpacks to more than there is room for.
    """
    try:
        with file.open("rb") as opened:
            packed = opened.read(4) in ZIP
            opened.seek(0)
            if packed:
                with np.load(opened, allow_pickle=False) as arrays:
                    return _member(arrays, file, name)
        # Mapped, a file that is shorter than its header says is noticed before memory is asked for.
        mapped: np.ndarray[Any, Any] = np.load(file, mmap_mode="r", allow_pickle=False)
        return mapped if file.stat().st_size >= MAPPED_FROM else np.array(mapped)
    except Refused:
        raise
    except Exception as error:  # a damaged file raises whatever it happens to look like
        if "Object arrays" in str(error) or "Python objects" in str(error):
            raise Refused("holds Python objects, not numbers (dtype object)") from None
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise Refused(f"cannot be read as {file.suffix or 'an array'}: {reason[:200]}") from None


def _member(arrays: np.lib.npyio.NpzFile, file: Path, name: str | None) -> np.ndarray[Any, Any]:
    names = ", ".join(arrays.files[:9]) or "none"
    if name is None and len(arrays.files) != 1:
        raise Refused(f"must hold one array, got {len(arrays.files)}: {names}")
    name = arrays.files[0] if name is None else name
    if name not in arrays.files:
        raise Refused(f"must hold an array {name}, has {names}")
    assert arrays.zip is not None
    check_members(arrays.zip.infolist())
    array = arrays[name]
    if not isinstance(array, np.ndarray):
        raise Refused(f"cannot be read as {file.suffix}: {name} is no array")
    return array


def check_members(members: Sequence[zipfile.ZipInfo], largest: int | None = None) -> None:
    """Refuse a zip archive that unpacks to more than `largest` bytes, by default what there is room for.

    What an archive says of a member is all that is ever unpacked of it.
    """
    largest, size = max_array_bytes() if largest is None else largest, sum(member.file_size for member in members)
    if size > largest:
        raise Refused(f"unpacks to {format_bytes(size)}: at most {format_bytes(largest)} are read into memory here")


def read_tensor(file: Path) -> Found:
    """The tensor that torch.save wrote, by torch's restricted reader, which builds tensors and plain containers."""
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                # torch.save packs nothing, so that its members are no larger than their file.
                check_members(archive.infolist(), file.stat().st_size)
                if archive.testzip() is not None:
                    raise Refused("is damaged: its checksums do not match")
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Refused:
        raise
    except Exception:  # a damaged file raises whatever it happens to look like
        raise Refused("is damaged, or holds more than the one tensor that torch.save(x, path) writes") from None
    if not isinstance(loaded, Tensor):
        raise Refused(f"must hold one tensor, got a {type(loaded).__name__}")
    if loaded.is_complex() or loaded.is_quantized or loaded.layout != torch.strided:
        raise Refused(f"must hold a dense tensor of real numbers, got {loaded.layout}, {loaded.dtype}")
    if loaded.nbytes > (most := max_array_bytes()):
        # One number in a file can stand for any number of them.
        raise Refused(
            f"holds {format_bytes(loaded.nbytes)} of numbers: at most {format_bytes(most)} are read into memory"
        )
    x = loaded.detach()
    # numpy has no bfloat16.
    return Found((x.float() if x.is_floating_point() and x.dtype != torch.float64 else x).numpy())


def read_parquet(file: Path) -> Found:
    """The columns of a Parquet file, side by side; a missing value is NaN."""
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise Refused("needs pyarrow, which is not installed: pip install 'ebm-cli[parquet]'") from None
    try:
        table = parquet.read_table(file)
    except Exception as error:  # pyarrow's own errors have no common base class
        raise Refused(
            f"cannot be read as {file.suffix}: {(str(error).splitlines() or ['no reason given'])[0]}"
        ) from None
    names: list[str] = list(table.column_names)
    columns = [table.column(j).to_numpy() for j in range(len(names))]
    for j, values in enumerate(columns):
        if values.dtype.kind not in "biuf":
            raise Refused(f"holds {table.column(j).type} in {column(j, names)}, not numbers")
    if not columns:
        raise Refused("is empty: it has no columns")
    return Found(np.stack([values.astype(np.float64) for values in columns], axis=1), names)
