"""The spline flow of the baselines: it learns in the time that it gets, and leaves the global generator alone."""

import math
from itertools import count

import pytest
import torch
from torch import Tensor, nn

from ebm_cli.evaluation.spline_flow import fit_spline_flow
from tests.support import seeded


def kl_of(flow: nn.Module, x: Tensor) -> float:
    """KL of N(0, S), S of correlation 0.95, from the flow over its samples."""
    right = torch.distributions.MultivariateNormal(torch.zeros(2), torch.tensor([[1.0, 0.95], [0.95, 1.0]]))
    return float((right.log_prob(x) - flow().log_prob(x)).mean())


@pytest.fixture
def rows() -> Tensor:
    factor = torch.tensor([[1.0, 0.95], [0.0, math.sqrt(1 - 0.95**2)]])
    return torch.randn(6_000, 2, generator=seeded()) @ factor


def test_flow_learns_a_correlation_in_its_time(rows: Tensor, monkeypatch: pytest.MonkeyPatch):
    """On a clock on which a step takes a second: 100 steps learn most of it, two nothing."""
    before = torch.random.get_rng_state()
    found = []
    for seconds in (100.0, 2.0):
        ticks = count()
        monkeypatch.setattr("ebm_cli.evaluation.spline_flow.perf_counter", lambda ticks=ticks: float(next(ticks)))
        found.append(kl_of(fit_spline_flow(rows[:3_000], rows[3_000:4_000], seconds), rows[4_000:]))
    assert found[0] < 0.3
    assert found[1] > 0.5
    assert torch.equal(torch.random.get_rng_state(), before)


def test_flow_of_one_column_integrates_to_1(rows: Tensor):
    flow = fit_spline_flow(rows[:3_000, :1], rows[3_000:4_000, :1], seconds=0.2)
    t = torch.linspace(-12.0, 12.0, 20_001)
    assert abs(float(flow().log_prob(t[:, None]).exp().double().sum()) * 24.0 / 20_000 - 1.0) < 1e-3
