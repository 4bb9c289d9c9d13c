"""The shape of the tail of weights: that of Pareto numbers, and none for weights that are bounded."""

import math

import pytest
import torch

from ebm_cli.evaluation.pareto import RELIABLE_K, pareto_k
from tests.support import seeded


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.7, 1.0, 1.5])
def test_shape_of_pareto_weights(shape: float) -> None:
    u = torch.rand(100_000, generator=seeded(), dtype=torch.float64)
    # 949 of them are in the tail: a standard error of (1 + k)/√949.
    assert pareto_k(-shape * u.log()) == pytest.approx(shape, abs=4 * (1 + shape) / math.sqrt(949))


def test_bounded_weights_have_no_tail() -> None:
    u = torch.rand(10_000, generator=seeded(), dtype=torch.float64)
    assert pareto_k(torch.zeros(10_000)) == -math.inf
    assert pareto_k(u.log()) < 0


def test_scale_of_the_weights_does_not_matter() -> None:
    log_w = 2 * torch.randn(5000, generator=seeded(), dtype=torch.float64)
    assert pareto_k(log_w + 800.0) == pytest.approx(pareto_k(log_w), abs=1e-9)


def test_normal_log_weights_pass_the_bound_where_their_mean_does() -> None:
    """With a standard deviation of 1 the mean of the weights is good; with 5, a handful of them is all of it."""
    z = torch.randn(16_384, generator=seeded(), dtype=torch.float64)
    assert pareto_k(z) < RELIABLE_K < pareto_k(5 * z)


def test_few_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 25"):
        pareto_k(torch.zeros(24))
