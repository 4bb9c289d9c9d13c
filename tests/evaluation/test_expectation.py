"""Expectations under the data: a quadrature where the density is known in the plane, rows everywhere else."""

import math
from typing import Any

import pytest
import torch

from ebm_cli.datasets import Gaussian, Synthetic
from ebm_cli.evaluation.expectation import DataDistribution, reference_copy, values_and_grads
from ebm_cli.evaluation.quadrature_grid import COARSE_GRID
from tests.evaluation.toys import LOG_2PI, Rows
from tests.support import harmonic, normal


def test_the_plane_with_a_density_has_an_exact_expectation() -> None:
    """The entropy of N(m, S) and its mean, without sampling error; log p is that of standardised units."""
    cov = torch.tensor([[4.0, 1.2], [1.2, 0.81]], dtype=torch.float64)
    data = DataDistribution(Synthetic(Gaussian(2, [3.0, -1.0], cov.tolist())))
    mean = data.expectation
    assert data.is_on_grid
    assert data.is_exact
    assert not mean.is_sampled
    assert mean.log_p is not None
    assert mean.standard_error(mean.log_p) is None
    entropy = float(data.standardizer.log_det) - mean(mean.log_p)
    assert entropy == pytest.approx(LOG_2PI + 1 + 0.5 * float(cov.logdet()), abs=1e-8)
    x = data.standardizer.inverse(mean.u)
    assert mean(x[:, 0]) == pytest.approx(3.0, abs=1e-8)
    assert float(mean.weight.sum()) == pytest.approx(1, abs=1e-9)


def test_more_dimensions_have_an_expectation_over_rows() -> None:
    data = DataDistribution(Synthetic(Gaussian(3)), n_rows=500)
    mean = data.expectation
    assert not data.is_on_grid
    assert not data.is_exact
    assert mean.is_sampled
    assert torch.equal(mean.u, data.rows)
    assert mean.log_p is not None
    assert mean.score is not None
    error = mean.standard_error(mean.log_p)
    assert error == pytest.approx(float(mean.log_p.std()) / math.sqrt(500))
    # Of N(0, I) up to the rounding of the standardisation.
    torch.testing.assert_close(mean.score, -data.standardizer.inverse(mean.u) * data.standardizer.scale)


def test_unknown_data_have_rows_without_a_density() -> None:
    data = DataDistribution(Rows(normal(200, 2, seed=0)), n_rows=200)
    assert data.is_on_grid
    assert not data.is_exact
    assert data.quadrature is None
    assert (data.expectation.log_p, data.expectation.score) == (None, None)
    assert data.grid.centre.shape[1] == 2


def test_each_part_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(*arguments: Any) -> Any:
        calls.append(arguments)
        return integrate(*arguments)

    from ebm_cli.evaluation.expectation import integrate

    monkeypatch.setattr("ebm_cli.evaluation.expectation.integrate", counted)
    data = DataDistribution(Synthetic(Gaussian(2)), resolution=COARSE_GRID)
    assert calls == []
    assert data.expectation is data.expectation
    assert data.grid is data.grid
    assert len(calls) == 1


def test_a_density_that_does_not_integrate_to_one_is_refused() -> None:
    class Twice(Gaussian):  # type: ignore[misc]
        def log_prob(self, x: torch.Tensor) -> torch.Tensor:
            return super().log_prob(x) + math.log(2)

    data = DataDistribution(Synthetic(Twice(2)), resolution=COARSE_GRID)
    with pytest.raises(ValueError, match=r"^density of the data integrates to 2, not to 1$"):
        _ = data.expectation


def test_fewer_than_two_rows_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^n_rows must be >= 2, got 1"):
        DataDistribution(Synthetic(Gaussian(2)), n_rows=1)


def test_reference_copy_is_in_double_precision_and_apart() -> None:
    layer = torch.nn.Linear(2, 3)
    copied = reference_copy(layer)
    assert copied.weight.dtype == torch.float64
    assert layer.weight.dtype == torch.float32


def test_values_and_gradients_are_in_double_precision() -> None:
    x = normal(7, 3, seed=0).float()
    value, grad = values_and_grads(harmonic, x)
    assert (value.dtype, grad.dtype) == (torch.float64, torch.float64)
    torch.testing.assert_close(grad, x.double())
