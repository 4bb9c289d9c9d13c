"""Pickles without running what is in them: plain containers and arrays of bytes, nothing else.

A pickle is a program that may call whatever it names. Here the three names that a numpy array is pickled by stand for
objects that only take note of what they are given, so that not even numpy is called; every other name is refused.
"""

import io
import math
import pickle
from typing import Any, Never, final

import numpy as np


@final
class _Array:
    """What is noted of an array."""

    def __init__(self, *arguments: Any) -> None:
        self._state: Any = None

    def __setstate__(self, state: Any) -> None:
        self._state = state

    def read(self) -> np.ndarray[Any, Any]:
        """The array of bytes that was noted: (version, shape, dtype, column-major?, bytes)."""
        _, shape, dtype, column_major, data = self._state
        if column_major or not isinstance(dtype, _DType) or dtype.name != "u1" or len(data) != math.prod(shape):
            raise ValueError("an array of something else than bytes, or of another length")
        return np.frombuffer(data, np.uint8).reshape(shape)


@final
class _DType:
    """What is noted of an array's dtype: its name."""

    def __init__(self, name: Any, *arguments: Any) -> None:
        self.name = name.decode("ascii") if isinstance(name, bytes) else name

    def __setstate__(self, state: Any) -> None:
        """Byte order, and what only structured dtypes have: nothing for single bytes."""


_STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): "numpy.ndarray",  # only ever an argument
    ("numpy", "dtype"): _DType,
}


# The one that is written in Python: in C, eight bytes that number a memo 2³² take 64 GB of memory.
class _Inert(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not read")
        return _STAND_INS[module, name]

    def persistent_load(self, pid: Any) -> Never:
        raise pickle.UnpicklingError("it names objects outside itself")


def read_dict(data: bytes) -> dict[str, Any]:
    """The dictionary in a pickle; its texts are those of Python 2 (bytes), its arrays are of bytes.

    Raises:
        ValueError: anything else, or a damaged pickle.
    """
    try:
        found = _Inert(io.BytesIO(data), encoding="bytes").load()
        entries = {key.decode("ascii") if isinstance(key, bytes) else key: value for key, value in found.items()}
        return {key: value.read() if isinstance(value, _Array) else value for key, value in entries.items()}
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to mean
        raise ValueError((str(error).splitlines() or [type(error).__name__])[0]) from None
