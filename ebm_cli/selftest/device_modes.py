"""Two ways to look at what a computation does on its device: with random numbers of the CPU, and counting its waits."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

READS = (
    "item",
    "__float__",
    "__int__",
    "__bool__",
    "__index__",
    "tolist",
    "cpu",
    "numpy",
    "nonzero",
    "equal",
    "unique",
)
"""Functions with a result that the host needs: it waits for everything that was launched on the device before."""
NAMED = 3
"""Places of waits that are named."""


class DrawnOnCPU(TorchFunctionMode):
    """Every draw from a generator of the CPU is made on the CPU, and moved to the device that asked for it.

    So computations on two devices get the same random numbers, which their own generators would not give.
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        rng = kwargs.get("generator")
        like = next((value for value in args if isinstance(value, Tensor)), None)
        device = kwargs.get("device") or (None if like is None else like.device)
        if rng is None or device is None or rng.device == torch.device(device):
            return function(*args, **kwargs)
        if like is not None and function.__name__.endswith("_"):
            return like.copy_(function(torch.empty_like(like, device=rng.device), *args[1:], **kwargs))
        here = [value.to(rng.device) if isinstance(value, Tensor) else value for value in args]
        drawn = function(*here, **(kwargs | ({"device": rng.device} if "device" in kwargs else {})))
        return drawn.to(device)


class _Reads(TorchFunctionMode):
    """Names the functions that the host needs the result of."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(function, "__name__", "")
        self.found += [name] * (name in READS)
        return function(*args, **(kwargs or {}))


@contextmanager
def waits(device: torch.device) -> Iterator[Callable[[], list[str]]]:
    """Note where the host waits for the device: on CUDA by torch's own report, elsewhere by the functions that read.

    Yields:
        A function without arguments → a text for each wait so far.
    """
    if device.type != "cuda":
        with _Reads() as reads:
            yield lambda: reads.found
        return
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield lambda: [f"{each.filename}:{each.lineno}" for each in caught if "synchroniz" in str(each.message)]
        finally:
            torch.cuda.set_sync_debug_mode(before)


def places(found: list[str]) -> str:
    """The first waits, in words; empty without any."""
    return ", ".join(dict.fromkeys(found[:NAMED]))
