"""What no estimator can reach on the rows of the table suite."""

import pytest
import torch
from torch import Tensor

from ebm_cli.datasets.table_suite.members import correlated
from ebm_cli.datasets.table_suite.table import TableSuite
from tests.support import seeded

TAIL = 0.001


def worst_tail(mean: Tensor, sd: Tensor, truth: Tensor) -> float:
    """The factor by which a normal column's mass beyond the true quantiles of 0.1 % and 99.9 % is wrong."""
    low, high = torch.quantile(truth, truth.new_tensor([TAIL, 1 - TAIL]), dim=0)
    of_model = torch.special.ndtr(torch.stack([(low - mean) / sd, (mean - high) / sd]))
    of_truth = torch.stack([(truth < low).double().mean(0), (truth > high).double().mean(0)])
    ratio = of_model / of_truth
    return float(torch.maximum(ratio, 1 / ratio).max())


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "factor"), [(0, 1.54), (1, 1.98), (2, 2.12)])
def test_maximum_likelihood_misses_a_factor_of_two(seed: int, factor: float) -> None:
    """On 700 rows of a Gaussian, the tails of the Gaussian with their mean and variance; the truth has 1."""
    table, truth = TableSuite("correlated", seed=seed), correlated()
    rows = table.standardizer.to_data_units(table.reference).double()
    fresh = torch.cat([truth.sample(50_000, seeded(block)).double() for block in range(10)])
    assert worst_tail(rows.mean(0), rows.std(0), fresh) == pytest.approx(factor, abs=0.06)
    assert worst_tail(torch.zeros(15).double(), torch.ones(15).double(), fresh) < 1.15
