"""Boosted trees against scikit-learn's, row for row."""

import numpy as np
import pytest
import torch

from ebm_cli.evaluation.boosted_trees import classify, classify_compiled
from tests.support import normal


@pytest.mark.parametrize(("n", "dim", "digits"), [(1000, 2, 8), (60, 1, 8), (300, 5, 1), (30, 3, 0), (12, 16, 8)])
def test_trees_are_those_of_scikit_learn(n: int, dim: int, digits: int) -> None:
    """With many values and few, so that bins are quantiles, or one for each value."""
    z = torch.cat((normal(n, dim, seed=0) + 0.3, normal(n, dim, seed=1))).round(decimals=digits).numpy()
    first, fold = np.arange(2 * n) < n, np.tile(np.arange(n) % 5, 2)
    ours = classify(z, first, fold)
    assert (ours == classify_compiled(z, first, fold)).all()
    assert 0 < ours.sum() < 2 * n
    assert (ours != classify(z, ~first, fold)).any()
