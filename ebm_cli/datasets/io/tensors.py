"""Tensors written by `torch.save`, read without running anything that the file contains."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ebm_cli.datasets.io.array_call import ArrayCall
from ebm_cli.datasets.io.arrays import require_room_to_unpack
from ebm_cli.datasets.io.contents import GROUP, Contents, InvalidFile, Reading, listed, refuse_damage
from ebm_cli.errors import did_you_mean
from ebm_cli.quoting import typed
from ebm_cli.system.memory import format_bytes, max_array_bytes


def read_tensor(file: Path, keys: Reading) -> Contents:
    """Read a tensor of a .pt file with torch's restricted unpickler, which builds tensors and plain containers.

    The file holds one tensor, or a dict of tensors, of which `array` names one and `label` may name another.

    Raises:
        InvalidFile: a damaged file, anything but one dense tensor of real numbers, or one too large for memory.
    """
    damaged = "is damaged, or holds more than the one tensor that torch.save(x, path) writes"
    with refuse_damage(lambda _: damaged):
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                # torch.save compresses nothing, so that the members are no larger than their file.
                require_room_to_unpack(archive.infolist(), file.stat().st_size)
                if archive.testzip() is not None:
                    raise InvalidFile("is damaged: its checksums do not match")
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    if isinstance(loaded, dict) and (tensors := {str(k): v for k, v in loaded.items() if isinstance(v, Tensor)}):
        return _read_member(file, tensors, keys)
    return Contents(_to_array(loaded), rewriting=_call(file, None, keys))


def _read_member(file: Path, tensors: dict[str, Tensor], keys: Reading) -> Contents:
    others = [name for name in tensors if name != keys.label]
    name = keys.array if keys.array is not None else others[0] if len(others) == 1 else None
    if name is None:
        first = typed(f"{GROUP}.array", others[0])
        raise InvalidFile(f"must hold one tensor, got a dict of {len(tensors)}: {listed(tensors)}; {first} chooses one")
    if name not in tensors:
        raise InvalidFile(f"must hold a tensor {name}, has {listed(tensors)}{did_you_mean(name, tensors)}")
    label = _to_array(tensors[str(keys.label)]) if keys.label in tensors else None
    return Contents(_to_array(tensors[name]), label, f"read from its tensor {name}", _call(file, name, keys))


def _call(file: Path, member: str | None, keys: Reading) -> ArrayCall:
    return ArrayCall(file, "torch", member, tuple(keys.typed("array", "label", "missing_class")))


def _to_array(loaded: Any) -> np.ndarray[Any, Any]:
    """A dense tensor of real numbers as an array.

    Raises:
        InvalidFile: anything else, or one too large for memory.
    """
    if not isinstance(loaded, Tensor):
        raise InvalidFile(f"must hold one tensor, or a dict of tensors, got a {type(loaded).__name__}")
    if loaded.is_complex() or loaded.is_quantized or loaded.layout != torch.strided:
        raise InvalidFile(f"must hold a dense tensor of real numbers, got {loaded.layout}, {loaded.dtype}")
    if loaded.nbytes > max_array_bytes():
        # With a stride of 0, one number in a file stands for any number of them.
        size, largest = format_bytes(loaded.nbytes), format_bytes(max_array_bytes())
        raise InvalidFile(f"holds {size} of numbers: at most {largest} are read into memory")
    x = loaded.detach()
    # numpy has no bfloat16.
    array: np.ndarray[Any, Any] = (x.float() if x.is_floating_point() and x.dtype != torch.float64 else x).numpy()
    return array
