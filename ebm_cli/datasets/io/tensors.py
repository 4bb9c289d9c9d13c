"""Tensors written by `torch.save`, read without running anything that the file contains."""

import zipfile
from pathlib import Path

import torch
from torch import Tensor

from ebm_cli.datasets.io.arrays import require_room_to_unpack
from ebm_cli.datasets.io.contents import Contents, InvalidFile
from ebm_cli.system.memory import format_bytes, max_array_bytes


def read_tensor(file: Path) -> Contents:
    """Read the one tensor of a .pt file with torch's restricted unpickler, which builds tensors and plain containers.

    Raises:
        InvalidFile: a damaged file, anything but one dense tensor of real numbers, or one too large for memory.
    """
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                # torch.save compresses nothing, so that the members are no larger than their file.
                require_room_to_unpack(archive.infolist(), file.stat().st_size)
                if archive.testzip() is not None:
                    raise InvalidFile("is damaged: its checksums do not match")
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except InvalidFile:
        raise
    except Exception:  # a damaged file can raise any exception
        raise InvalidFile("is damaged, or holds more than the one tensor that torch.save(x, path) writes") from None
    if not isinstance(loaded, Tensor):
        raise InvalidFile(f"must hold one tensor, got a {type(loaded).__name__}")
    if loaded.is_complex() or loaded.is_quantized or loaded.layout != torch.strided:
        raise InvalidFile(f"must hold a dense tensor of real numbers, got {loaded.layout}, {loaded.dtype}")
    if loaded.nbytes > max_array_bytes():
        # With a stride of 0, one number in a file stands for any number of them.
        size, largest = format_bytes(loaded.nbytes), format_bytes(max_array_bytes())
        raise InvalidFile(f"holds {size} of numbers: at most {largest} are read into memory")
    x = loaded.detach()
    # numpy has no bfloat16.
    return Contents((x.float() if x.is_floating_point() and x.dtype != torch.float64 else x).numpy())
