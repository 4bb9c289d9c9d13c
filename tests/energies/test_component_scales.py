"""Weights of components by maximum likelihood are those of the rows, and no more changes than they ask for."""

import pytest
import torch

from ebm_cli.energies.component_scales import PRIOR, fit_scales
from tests.support import normal


def shares(x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Shares of N(±1, 1) with these weights at points [N]."""
    log_terms = weights.log() - 0.5 * (x.unsqueeze(1) - torch.tensor([-1.0, 1.0])).square()
    return log_terms.softmax(1).double()


def test_parts_that_are_apart_get_the_shares_of_the_rows() -> None:
    """With one row of the prior: w_k = (n_k + ρ_k) / (n + 1), also for a part that no row is in."""
    of_rows = torch.eye(3).double()[torch.tensor([0] * 6 + [1] * 2)]
    means = torch.tensor([0.5, 0.3, 0.2]).double()
    expected = (torch.tensor([6.0, 2.0, 0.0]).double() + PRIOR * means) / (8 + PRIOR)
    torch.testing.assert_close(fit_scales(of_rows, means) * means, expected)


def test_weights_of_overlapping_parts_are_found() -> None:
    """Rows of weights 0.8 and 0.2, a model of 0.5 and 0.5, whose shares are those of N(±1, 1)."""
    half = torch.tensor([0.5, 0.5])
    n = 40_000
    rows = normal(n, seed=1).float() + torch.where(torch.arange(n) < 0.8 * n, -1.0, 1.0)
    scales = fit_scales(shares(rows, half), half.double())
    assert (scales * half).tolist() == pytest.approx([0.8, 0.2], abs=0.01)
    # E_p[a] = 1: log Z does not move.
    assert float(half.double() @ scales) == pytest.approx(1, abs=1e-6)


def test_weights_that_are_right_stay() -> None:
    weights = torch.tensor([0.3, 0.7])
    n = 40_000
    rows = normal(n, seed=2).float() + torch.where(torch.arange(n) < 0.3 * n, -1.0, 1.0)
    scales = fit_scales(shares(rows, weights), weights.double())
    assert scales.tolist() == pytest.approx([1, 1], abs=0.03)
