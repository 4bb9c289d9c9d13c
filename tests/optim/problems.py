"""Parameters of several shapes and a loss of them, for the tests of the buffer, of its optimizers and of clipping."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from tests.support import seeded

SHAPES = [(3, 5), (7,), (), (4, 1, 2), (33,)]

OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "adam": lambda p: Adam(p, lr=0.05, betas=(0.8, 0.95), fused=True),
    "adam, l2": lambda p: Adam(p, lr=0.05, weight_decay=0.1, eps=1e-3, fused=True),
    "adamw": lambda p: AdamW(p, lr=0.05, weight_decay=0.1, fused=True),
    "adam, up": lambda p: Adam(p, lr=0.05, maximize=True, fused=True),
    "amsgrad": lambda p: Adam(p, lr=0.05, amsgrad=True, fused=True),
    "adam, not fused": lambda p: Adam(p, lr=0.05),
    "sgd": lambda p: SGD(p, lr=1e-4, momentum=0.9),
}
ON_THE_BUFFER = {"adam", "adam, l2", "adamw", "adam, up"}


class Halving(Optimizer):
    """An optimizer that torch does not have: p ← p/2."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        super().__init__(parameters, {"lr": 1.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for p in self.param_groups[0]["params"]:
            p.mul_(0.5)


def made(dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    """Parameters of every shape, the same at every call."""
    rng = seeded()
    return [nn.Parameter(torch.randn(shape, generator=rng, dtype=dtype)) for shape in SHAPES]


def loss_of(parameters: list[nn.Parameter], step: int, without: int | None = None) -> Tensor:
    """A different function in each step, of all parameters but one."""
    terms = [((p - step) ** 4 + p.sin() * (i + 1)).sum() for i, p in enumerate(parameters) if i != without]
    return torch.stack(terms).sum()
