"""Boosted trees against scikit-learn's, row for row."""

import numpy as np
import pytest
import torch

from ebm_cli.evaluation.boosted_trees import log_odds, log_odds_compiled
from tests.support import normal


@pytest.mark.parametrize(("n", "dim", "digits"), [(1000, 2, 8), (60, 1, 8), (300, 5, 1), (30, 3, 0), (12, 16, 8)])
def test_trees_are_those_of_scikit_learn(n: int, dim: int, digits: int) -> None:
    """With many values and few, so that bins are quantiles, or one for each value."""
    z = torch.cat((normal(n, dim, seed=0) + 0.3, normal(n, dim, seed=1))).round(decimals=digits).numpy()
    first, fold = np.arange(2 * n) < n, np.tile(np.arange(n) % 5, 2)
    ours = log_odds(z, first, fold)
    theirs = log_odds_compiled(z, first, fold)
    assert ((ours > 0) == (theirs > 0)).all()
    # Of two cuts with the same gain, which tied rows have, the rounding of a sum chooses.
    assert np.median(np.abs(ours - theirs)) < 1e-5
    assert 0 < (ours > 0).sum() < 2 * n
    assert ((ours > 0) != (log_odds(z, ~first, fold) > 0)).any()
