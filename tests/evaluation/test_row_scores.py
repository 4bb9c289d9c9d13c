"""Scores of single rows: their log-density in data units, and their p-values."""

import math

import pytest
import torch

from ebm_cli.evaluation.log_z import known, unknown
from ebm_cli.evaluation.row_scores import p_values, score_rows
from tests.support import harmonic, normal, seeded

NAN = math.nan


def test_p_value_counts_held_out_rows_at_least_as_strange() -> None:
    held_out = torch.tensor([3.0, 1.0, 2.0, 2.0]).double()
    found = p_values(torch.tensor([0.0, 1.0, 2.0, 2.5, 4.0, NAN]).double(), held_out)
    assert found[:-1].tolist() == [1.0, 1.0, 0.8, 0.4, 0.2]
    assert found[-1].isnan()


def test_p_values_of_rows_like_the_held_out_ones_are_uniform() -> None:
    """A share α of them is at most α; the control, rows of twice the width, has more."""
    held_out, alike, wide = (s * normal(4000, 3, seed=i) for i, s in enumerate((1, 1, 2)))
    alike_p, wide_p = (p_values(harmonic(x), harmonic(held_out)) for x in (alike, wide))
    for alpha in (0.01, 0.1, 0.5):
        se = (2 * alpha * (1 - alpha) / 4000) ** 0.5
        assert abs(float((alike_p <= alpha).double().mean()) - alpha) < 5 * se
        assert float((wide_p <= alpha).double().mean()) > alpha + 5 * se


def test_log_density_is_that_of_the_data_units() -> None:
    """u = (x − m)/s is N(0, I) with f = ½‖u‖² + 7 and log Z = log 2π − 7."""
    scale = torch.tensor([3.0, 0.2]).double()
    u = torch.randn(5, 2, generator=seeded(), dtype=torch.float64)
    found = score_rows(harmonic(u) + 7, known(math.log(2 * math.pi) - 7), float(scale.log().sum()), None)
    exact = torch.distributions.Normal(0.0, scale).log_prob(u * scale).sum(1)
    assert found.log_p is not None
    torch.testing.assert_close(found.log_p, exact)
    assert (found.log_p_se, found.p_value) == (0.0, None)


def test_without_log_z_there_is_the_energy_only() -> None:
    found = score_rows(torch.tensor([1.0, NAN, 5.0, 3.0]).double(), unknown("why"), 0.0, torch.ones(3).double())
    assert (found.log_p, found.log_p_se) == (None, None)
    assert found.strangest(2) == [2, 3]
    assert found.strangest(9) == [2, 3, 0]


@pytest.mark.parametrize("n", [1, 99])
def test_smallest_p_value_is_one_over_n_plus_1(n: int) -> None:
    assert float(p_values(torch.tensor([1e9]).double(), torch.zeros(n).double())) == 1 / (n + 1)
