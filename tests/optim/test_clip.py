"""Gradient clipping: torch's numbers, also where the norm is not finite."""

import math

import pytest
import torch
from torch import Tensor, nn

from ebm_cli.optim.clip import clip_
from ebm_cli.optim.flat import Flat
from tests.support import seeded


@pytest.mark.parametrize("max_norm", [1e-3, 1.0, 100.0, math.inf])
@pytest.mark.parametrize("value", [0.0, 0.5, 30.0, math.nan, math.inf])
def test_clip_is_torchs(max_norm: float, value: float) -> None:
    def parameters() -> list[nn.Parameter]:
        return [nn.Parameter(torch.zeros(size)) for size in ((3, 5), (7,), (), (2,))]

    rng = seeded()
    ours, theirs = parameters(), parameters()
    factors = [torch.randn(p.shape, generator=rng) * 0.3 for p in ours[:3]]
    factors[1][2] = value

    def loss_of(given: list[nn.Parameter]) -> Tensor:
        """A loss that leaves out one parameter."""
        return torch.stack([(p * factor).sum() for p, factor in zip(given[:3], factors, strict=True)]).sum()

    flat = Flat(ours)
    for _ in range(2):
        flat.backward(loss_of(ours))
        norm = clip_(flat, max_norm)
        flat.expose_grads()
        loss_of(theirs).backward()
        expected = nn.utils.clip_grad_norm_(theirs, max_norm)
        torch.testing.assert_close(norm, expected, rtol=1e-6, atol=0, equal_nan=True)
        for a, b in zip(ours, theirs, strict=True):
            assert (a.grad is None) == (b.grad is None)
            if a.grad is not None and b.grad is not None:
                torch.testing.assert_close(a.grad, b.grad, rtol=1e-6, atol=0, equal_nan=True)
                a.grad = b.grad = None
        # A gradient that was not finite leaves no trace in the next one.
        factors[1][2] = 0.5
