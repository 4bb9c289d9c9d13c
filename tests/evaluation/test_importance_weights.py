"""Importance weights: systematic resampling, effective sizes, and the standard error of the mean weight."""

import math

import pytest
import torch
from torch import Tensor

from ebm_cli.evaluation.importance_weights import effective_size, n_families, standard_error, systematic_indices
from ebm_cli.evaluation.not_integrable import NotIntegrable
from tests.support import seeded


def test_resampling_takes_each_index_as_often_as_its_weight() -> None:
    weights = torch.tensor([0.0, 0.5, 0.125, 0.375, 0.0], dtype=torch.float64)
    for seed in range(20):
        counts = systematic_indices(weights.log(), 8, seeded(seed)).bincount(minlength=5)
        assert counts.tolist() == [0, 4, 1, 3, 0]


def test_resampling_is_unbiased_for_fractional_shares() -> None:
    log_w = torch.randn(10, generator=seeded(), dtype=torch.float64)
    g = seeded(1)
    counts = sum(systematic_indices(log_w, 7, g).bincount(minlength=10) for _ in range(2000))
    assert isinstance(counts, Tensor)
    expected = 7 * log_w.softmax(0)
    torch.testing.assert_close(counts.double() / 2000, expected, atol=0.06, rtol=0)


def test_families_are_counted_by_their_weight() -> None:
    log_w = torch.tensor([1.0, 2.0, 3.0, 2.0], dtype=torch.float64).log()
    assert effective_size(log_w) == pytest.approx(64 / 18)
    assert n_families(log_w, torch.arange(4)) == pytest.approx(64 / 18)
    assert n_families(log_w, torch.tensor([0, 0, 2, 2])) == pytest.approx(64 / 34)
    assert n_families(log_w, torch.zeros(4, dtype=torch.long)) == pytest.approx(1)


def test_families_without_any_weight_are_refused() -> None:
    with pytest.raises(NotIntegrable, match="no chain has any weight"):
        n_families(torch.full((4,), -math.inf, dtype=torch.float64), torch.arange(4))


def test_standard_error_of_single_chains_is_the_usual_one() -> None:
    w = torch.rand(50, generator=seeded(), dtype=torch.float64)
    ess = n_families(w.log(), torch.arange(50))
    usual = float(w.std() / w.mean()) / math.sqrt(50)
    assert standard_error(ess, 50) == pytest.approx(usual * math.sqrt((ess - 1) / (ess - 3)))
    assert standard_error(2.9, 50) == math.inf
    assert standard_error(3.5, 50) == pytest.approx(math.sqrt((50 / 3.5 - 1) / 49 * 2.5 / 0.5))
    assert standard_error(50.0, 50) == 0
