"""Pickles of plain containers and arrays of bytes, read without running them.

A pickle is a program that may call whatever it names. Here the names that a pickled numpy array contains stand for
objects that only record their arguments, so that not even numpy is called; every other name is refused.
"""

import io
import math
import pickle
from typing import Any, Never, final

import numpy as np

from ebm_cli.errors import first_line


@final
class _Array:
    """Arguments of a pickled array."""

    def __init__(self, *arguments: Any) -> None:
        self._state: Any = None

    def __setstate__(self, state: Any) -> None:
        self._state = state

    def read(self) -> np.ndarray[Any, Any]:
        """Build the array of bytes from its recorded state (version, shape, dtype, column-major?, bytes)."""
        _, shape, dtype, column_major, data = self._state
        if column_major or not isinstance(dtype, _DType) or dtype.name != "u1" or len(data) != math.prod(shape):
            raise ValueError("an array that does not hold bytes, or not as many as its shape says")
        return np.frombuffer(data, np.uint8).reshape(shape)


@final
class _DType:
    """Arguments of a pickled dtype: its name."""

    def __init__(self, name: Any, *arguments: Any) -> None:
        self.name = name.decode("ascii") if isinstance(name, bytes) else name

    def __setstate__(self, state: Any) -> None:
        """Ignore byte order and fields, which single bytes do not have."""


_STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): "numpy.ndarray",  # an argument only, never called
    ("numpy", "dtype"): _DType,
}


class _InertUnpickler(pickle._Unpickler):
    """Unpickler that looks up nothing but stand-ins.

    It is the implementation in Python: in C, a memo index of 2³², which takes eight bytes of a file, allocates 64 GB.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not allowed")
        return _STAND_INS[module, name]

    def persistent_load(self, pid: Any) -> Never:
        raise pickle.UnpicklingError("it refers to objects outside the file")


def read_dict(data: bytes) -> dict[str, Any]:
    """Read the dictionary in a pickle of Python 2, whose strings are read as bytes; its arrays must hold bytes.

    Raises:
        ValueError: anything else, or a damaged pickle.
    """
    try:
        loaded = _InertUnpickler(io.BytesIO(data), encoding="bytes").load()
        entries = {key.decode("ascii") if isinstance(key, bytes) else key: value for key, value in loaded.items()}
        return {key: value.read() if isinstance(value, _Array) else value for key, value in entries.items()}
    except Exception as error:  # a damaged pickle can raise any exception, says the documentation of pickle
        raise ValueError(first_line(error)) from None
