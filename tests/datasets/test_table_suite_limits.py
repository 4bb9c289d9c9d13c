"""The limit of what an estimator can reach on the rows of the table suite."""

import pytest
import torch

from ebm_cli.datasets.table_suite.table import TableSuite


@pytest.mark.parametrize(("seed", "factor"), [(0, 1.55), (1, 1.88), (2, 2.30)])
def test_maximum_likelihood_misses_a_factor_of_two(seed: int, factor: float) -> None:
    """On 700 rows of a standard Gaussian: the masses that the Gaussian of their means and variances has beyond the true
    quantiles of 0.1 % and 99.9 % of each column."""
    table = TableSuite("correlated", seed=seed)
    rows = table.standardizer.to_data_units(table.reference).double()
    mean, sd = rows.mean(0), rows.std(0, correction=0)
    low = torch.special.ndtri(mean.new_tensor(0.001))
    ratio = torch.special.ndtr(torch.stack([(low - mean) / sd, (low + mean) / sd])) / 0.001
    assert float(torch.maximum(ratio, 1 / ratio).max()) == pytest.approx(factor, abs=0.02)
