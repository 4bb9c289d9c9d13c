"""Two ways to look at what a computation does on its device: with random numbers of the CPU, and counting its waits."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

READS = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select", "unique")
"""Operations with a result that the host needs: on a GPU it waits for everything that was launched before."""
NAMED = 3
"""Places of waits that are named."""


class DrawnOnCPU(TorchDispatchMode):
    """Every draw from a generator of the CPU is made on the CPU, and moved to the device that asked for it.

    So computations on two devices get the same random numbers, which their own generators would not give.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        rng = kwargs.get("generator")
        like = next((value for value in args if isinstance(value, Tensor)), None)
        device = kwargs.get("device") or (None if like is None else like.device)
        if rng is None or device is None or rng.device == torch.device(device):
            return op(*args, **kwargs)
        if like is not None and op.overloadpacket.__name__.endswith("_"):
            return like.copy_(op(torch.empty_like(like, device=rng.device), *args[1:], **kwargs))
        here = [value.to(rng.device) if isinstance(value, Tensor) else value for value in args]
        return op(*here, **(kwargs | ({"device": rng.device} if "device" in kwargs else {}))).to(device)


class _Reads(TorchDispatchMode):
    """Names the operations that the host needs the result of."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = op.overloadpacket.__name__
        self.found += [name] * (name in READS)
        return op(*args, **(kwargs or {}))


@contextmanager
def waits(device: torch.device) -> Iterator[Callable[[], list[str]]]:
    """Note where the host waits for the device: on CUDA by torch's own report, elsewhere by the operations.

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
