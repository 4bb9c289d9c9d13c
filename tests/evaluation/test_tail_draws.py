"""Thinned draws: all of the tails, few of the rest, and the same means."""

import pytest
import torch

from ebm_cli.evaluation.tail_draws import Thinned, thinned
from tests.support import seeded


def test_thinned_draws_have_the_masses_of_all() -> None:
    """N(0, I) in the plane: all points beyond ±2 of either coordinate, every tenth of the others."""
    rng, low = seeded(), torch.full((2,), -2.0)
    found = thinned(lambda n: torch.randn(n, 2, generator=rng), 1_000_000, low, -low)
    beyond = (found.x.abs() > 2).any(1)
    inside = 0.9545**2
    assert int(beyond.sum()) == pytest.approx(1_000_000 * (1 - inside), rel=0.02)
    assert int((~beyond).sum()) == pytest.approx(100_000 * inside, rel=0.02)
    assert set(found.log_count[beyond].tolist()) == {0.0}
    weights = found.log_count.softmax(0)
    assert float(weights[beyond].sum()) == pytest.approx(1 - inside, rel=0.02)
    # Alone, their share is ten times as large.
    assert float(beyond.double().mean()) > 0.4
    assert float(weights @ found.x[:, 0].square().double()) == pytest.approx(1.0, abs=0.02)


def test_few_draws_are_all_kept() -> None:
    rng = seeded()
    found = thinned(lambda n: torch.randn(n, 1, generator=rng), 30_000, torch.zeros(1), torch.zeros(1))
    assert len(found.x) == 30_000
    assert not found.log_count.any()


def test_weight_of_one_draw_is_bounded() -> None:
    """n draws of weight 1, one of them of weight n: it counts as √n times the mean, which is 2. Small ones stay."""
    log_w = torch.zeros(10_000, dtype=torch.float64)
    points = Thinned(torch.zeros(10_000, 1), torch.zeros(10_000, dtype=torch.float64))
    log_w[3] = torch.tensor(10_000.0).log()
    assert float(points.weighed(log_w).exp()[3]) == pytest.approx(2 * 100, rel=0.01)
    log_w[3] = 4.0
    assert torch.equal(points.weighed(log_w), log_w)
