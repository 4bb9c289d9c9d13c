"""The moving average of parameters."""

import pytest
import torch
from torch import nn

from ebm_cli.optim.ema import EMA
from ebm_cli.optim.flat import Flat
from tests.support import seeded


def scalar(value: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(value, dtype=torch.float64))


def averaged(parameter: nn.Parameter, decay: float) -> EMA:
    return EMA(["p"], Flat([parameter]), decay)


def test_average_follows_its_formula() -> None:
    p = scalar(0.0)
    ema = averaged(p, 0.3)
    expected = 0.0
    for t in range(8):
        p.data.fill_(float(t * t))
        beta = min(0.3, (1 + t) / (10 + t))
        expected = beta * expected + (1 - beta) * t * t
        ema.update()
        with ema.applied():
            assert p.item() == pytest.approx(expected, rel=1e-14)
        assert p.item() == t * t
    assert beta == 0.3


def test_average_without_decay_is_the_parameter() -> None:
    p = nn.Parameter(torch.randn(100, generator=seeded()))
    ema = averaged(p, 0.0)
    for t in range(3):
        p.data.add_(1 / (t + 3))
        ema.update()
    live = p.detach().clone()
    with ema.applied():
        assert torch.equal(p, live)


def test_live_values_return_after_an_error() -> None:
    p = scalar(1.0)
    ema = averaged(p, 0.9)
    p.data.fill_(5.0)
    with pytest.raises(ZeroDivisionError), ema.applied():
        p.data.fill_(1 / (p.item() - 1))
    assert p.item() == 5.0
    with ema.applied():
        assert p.item() == 1.0
