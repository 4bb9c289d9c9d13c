"""Ranks that speak through torch.distributed: gloo on CPUs, nccl between GPUs. Imported by runs of several only."""

import io
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import FileStore, Store

from ebm_cli.errors import ProcessLost, first_line
from ebm_cli.system.ranks import Ranks

PATIENCE = timedelta(days=7)
"""Time that a process waits for another one. The first one may evaluate for hours; one that dies closes its
connections, which the others see at once."""
JOINING = timedelta(minutes=10)
"""Time that the processes may take to find one another."""


def backend_for(device: torch.device, has_own: bool) -> str:
    """Backends by kind of device: nccl where every process has a GPU of its own."""
    return "cpu:gloo,cuda:nccl" if has_own and device.type == "cuda" and dist.is_nccl_available() else "gloo"


def stay_here() -> None:
    """Have processes of one machine speak over its loopback device, whatever its name resolves to."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")


class ProcessGroup(Ranks):
    """The default process group of torch.distributed.

    Args:
        index, size: of this process.
        store: where the processes find one another.
        device: of the run; it decides how gradients travel.
        has_own: whether every process has a device of its own.
        explain: sentence on what became of the others, once one of them does not answer.

    Raises:
        ProcessLost: the others did not come.
    """

    def __init__(
        self,
        index: int,
        size: int,
        store: Store,
        device: torch.device,
        has_own: bool,
        explain: Callable[[str], str] = str,
    ) -> None:
        super().__init__(index, size)
        self._explain = explain
        backend = backend_for(device, has_own)
        self._direct = ("cpu", "cuda") if "nccl" in backend else ("cpu",)
        store.set_timeout(JOINING)
        self._call(dist.init_process_group, backend, store=store, rank=index, world_size=size, timeout=PATIENCE)

    @classmethod
    def here(
        cls, index: int, size: int, file: Path, device: torch.device, explain: Callable[[str], str] = str
    ) -> "ProcessGroup":
        """Join processes of one machine, which find one another in a file that only they know."""
        stay_here()
        has_own = device.type == "cuda" and size <= torch.cuda.device_count()
        return cls(index, size, FileStore(str(file), size), device, has_own, explain)

    def sum_(self, value: Tensor) -> Tensor:
        return self._in_place(value, dist.all_reduce)

    def broadcast_(self, value: Tensor) -> Tensor:
        return self._in_place(value, dist.broadcast, src=0)

    def gather(self, value: Tensor) -> list[Tensor]:
        own = value.detach().cpu().contiguous()
        found = [torch.empty_like(own) for _ in range(self.size)]
        self._call(dist.all_gather, found, own)
        return [each.to(value.device) for each in found]

    def announce(self, value: Any) -> Any:
        content = _packed(value) if self.is_first else torch.empty(0, dtype=torch.uint8)
        size = int(self.broadcast_(torch.tensor([len(content)])))
        sent = self.broadcast_(content if self.is_first else torch.empty(size, dtype=torch.uint8))
        return value if self.is_first else _unpacked(sent)

    def collect(self, value: Any) -> list[Any]:
        content = _packed(value)
        sizes = [int(size) for size in self.gather(torch.tensor([len(content)]))]
        padded = torch.zeros(max(sizes), dtype=torch.uint8)
        padded[: len(content)] = content
        return [_unpacked(each[:size]) for each, size in zip(self.gather(padded), sizes, strict=True)]

    def close(self) -> None:
        if dist.is_initialized():
            dist.destroy_process_group()

    def _in_place(self, value: Tensor, operation: Callable[..., Any], **given: int) -> Tensor:
        is_direct = value.device.type in self._direct and value.is_contiguous()
        sent = value.detach() if is_direct else value.detach().cpu().contiguous()
        self._call(operation, sent, **given)
        return value if is_direct else value.copy_(sent)

    def _call(self, operation: Callable[..., Any], *arguments: Any, **given: Any) -> None:
        try:
            operation(*arguments, **given)
        except RuntimeError as error:
            raise ProcessLost(self._explain(first_line(error))) from error


def _packed(value: Any) -> Tensor:
    """A plain value as bytes [n]."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)


def _unpacked(content: Tensor) -> Any:
    """The plain value of bytes [n]."""
    return torch.load(io.BytesIO(content.numpy().tobytes()), weights_only=True)
