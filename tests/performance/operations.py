"""Counting of tensor operations, and small runs to count in."""

from collections import Counter
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ebm_cli.runs.assemble import assemble
from ebm_cli.runs.instantiate import Parts
from tests.support import composed, seeded

BATCH = 16


def parts_of(*words: str) -> Parts:
    """The parts of a small run, with a method that is ready to take steps."""
    parts = assemble(composed(f"batch_size={BATCH}", *words))
    parts.method.prepare(parts.dataset.reference, seeded())
    return parts


def rows(parts: Parts) -> Tensor:
    """A batch of data [BATCH, *D]."""
    return parts.dataset.batches(BATCH, seeded()).next()


class Operations(TorchDispatchMode):
    """Counts operations on tensors; a view, and memory that nothing is written to, are none."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(op.overloadpacket).removeprefix("aten.")
        if not op.is_view and name not in ("_unsafe_view", "empty", "empty_like", "empty_strided", "new_empty"):
            self.found[name] += 1
        return op(*args, **(kwargs or {}))
