"""Arrays of numpy from .npy and .npz files. Nothing in a file is run: it holds numbers, or it is refused."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ebm_cli.datasets.io.array_call import ArrayCall
from ebm_cli.datasets.io.contents import GROUP, Contents, InvalidFile, Reading, listed, refuse_damage
from ebm_cli.datasets.io.text_files import is_text, kind_of, kind_of_text
from ebm_cli.errors import did_you_mean, first_line
from ebm_cli.quoting import typed
from ebm_cli.system.memory import format_bytes, max_array_bytes

ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
"""First bytes of a zip archive, and of an empty one."""
MAPPED_FROM = 2**24
"""Bytes of a .npy from which it is mapped. A smaller file is read, and may be overwritten while a run trains on it."""


def read_array(file: Path, keys: Reading) -> Contents:
    """Read the array of a .npy, mapped if it is large, or an array of a .npz.

    The label of a .npz may be an array of its own.
    """
    names = _member_names(file)
    if names is None or (keys.label not in names and keys.array is None and len(names) == 1):
        member = None if names is None else names[0]
        return Contents(load_array(file), rewriting=_call(file, member, keys))
    others = [name for name in names if name != keys.label]
    if not others:
        raise InvalidFile(f"must hold one array, got {len(names)}")
    name = keys.array if keys.array is not None else others[0] if len(others) == 1 else None
    if name is None:
        first = typed(f"{GROUP}.array", others[0])
        raise InvalidFile(f"must hold one array, got {len(names)}: {listed(names)}; {first} chooses one")
    label = load_array(file, str(keys.label)) if keys.label in names else None
    return Contents(load_array(file, name), label, f"read from its array {name}", _call(file, name, keys))


def _call(file: Path, member: str | None, keys: Reading) -> ArrayCall:
    return ArrayCall(file, "numpy", member, tuple(keys.typed("array", "label", "missing_class")))


def _member_names(file: Path) -> list[str] | None:
    """Names of the arrays in a .npz; None for a file that is none."""
    try:
        with zipfile.ZipFile(file) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError):
        return None


def load_array(file: Path, name: str | None = None, mapped_from: int = MAPPED_FROM) -> np.ndarray[Any, Any]:
    """Load the array of a .npy or an array of a .npz.

    Memory is asked for only after the declared size is found to fit: a .npy into its file, an array of a .npz into
    memory.

    Args:
        file: whose contents, not whose name, tell a .npy from a .npz.
        name: of an array in a .npz; None for its only one.
        mapped_from: bytes from which a .npy is memory-mapped.

    Raises:
        InvalidFile: anything else, Python objects, or an array that unpacks to more than memory has room for.
    """
    with refuse_damage(lambda error: _reason(file, error)):
        with file.open("rb") as opened:
            is_zip = opened.read(4) in ZIP_MAGIC
            opened.seek(0)
            if is_zip:
                with np.load(opened, allow_pickle=False) as arrays:
                    return _load_member(arrays, file, name)
        # Mapping notices that a file is shorter than its header says before memory is asked for.
        mapped: np.ndarray[Any, Any] = np.load(file, mmap_mode="r", allow_pickle=False)
        return mapped if file.stat().st_size >= mapped_from else np.array(mapped)


def _reason(file: Path, error: Exception) -> str:
    """The reason for which numpy cannot read a file, in words of ours where it is no file of numpy."""
    if "Object arrays" in str(error) or "Python objects" in str(error):
        return "holds Python objects, not numbers (dtype object)"
    return f"cannot be read as {file.suffix or 'an array'}: {_fault(file, error)}"


def _fault(file: Path, error: Exception) -> str:
    """The fault of a file that is no array: of another kind, or what numpy says."""
    with file.open("rb") as opened:
        start = opened.read(200)
    if not start:
        return "it is empty"
    if (other := kind_of_text(start)) is not None:
        return f"it is {other}"
    if is_text(file):
        return "it is a text file; rename it to .csv, .txt or .dat if it holds a table"
    kind = kind_of(start)
    if not start.startswith((b"\x93NUMPY", b"PK")):
        return f"its first bytes are those of {kind}" if kind else "its first bytes are those of no array"
    return first_line(error)


def _load_member(arrays: np.lib.npyio.NpzFile, file: Path, name: str | None) -> np.ndarray[Any, Any]:
    names = ", ".join(arrays.files[:9]) or "none"
    if name is None and len(arrays.files) != 1:
        raise InvalidFile(f"must hold one array, got {len(arrays.files)}: {names}")
    name = arrays.files[0] if name is None else name
    if name not in arrays.files:
        raise InvalidFile(f"must hold an array {name}, has {names}{did_you_mean(name, arrays.files)}")
    assert arrays.zip is not None
    require_room_to_unpack(arrays.zip.infolist())
    array = arrays[name]
    if not isinstance(array, np.ndarray):
        raise InvalidFile(f"cannot be read as {file.suffix}: {name} is no array")
    return array


def require_room_to_unpack(members: Sequence[zipfile.ZipInfo], largest: int | None = None) -> None:
    """Refuse a zip archive that unpacks to more than `largest` bytes; None stands for what memory has room for.

    The sizes that an archive declares for its members bound what is unpacked of them.

    Raises:
        InvalidFile: the declared sizes are larger.
    """
    largest, size = max_array_bytes() if largest is None else largest, sum(member.file_size for member in members)
    if size > largest:
        raise InvalidFile(f"unpacks to {format_bytes(size)}: at most {format_bytes(largest)} are read into memory here")
