"""The mixture whose number of components the data choose."""

import copy
import importlib
import math

import pytest
import torch
from torch import Tensor

from ebm_cli.datasets import TableSuite
from ebm_cli.densities import FittedMixture, Gaussian, mixture_by_bic
from tests.densities.support import hard_rows
from tests.support import seeded


def three_modes(n: int = 3000) -> Tensor:
    """Rows [n, 2] of three Gaussians, sd 0.3, at (−1, 0), (1, 0), (0, 2), with weights 0.5, 0.3, 0.2."""
    rng = seeded()
    k = torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), n, replacement=True, generator=rng)
    means = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    return means[k] + 0.3 * torch.randn(n, 2, generator=rng, dtype=torch.float64)


def test_bic_finds_the_number_of_components_and_their_weights() -> None:
    mixture = mixture_by_bic(three_modes())
    error = 5 * (0.25 / 3000) ** 0.5
    torch.testing.assert_close(
        mixture.weights.sort().values, torch.tensor([0.2, 0.3, 0.5]).double(), atol=error, rtol=0
    )


FIVE = [0.05, 0.15, 0.2, 0.25, 0.35]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_cluster_of_a_twentieth_of_the_rows_is_found(seed: int) -> None:
    """Five Gaussians of 8 columns; the first partition alone leaves it in another component on seeds 1 and 2."""
    found = mixture_by_bic(TableSuite("clusters", seed=seed).reference).weights.sort().values
    assert found.tolist() == pytest.approx(FIVE, abs=0.02)


def test_control_one_partition_misses_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module(mixture_by_bic.__module__), "MOST_CLUSTERS", 1)
    assert len(mixture_by_bic(TableSuite("clusters", n_rows=9000, seed=1).reference).weights) == 4


def test_bic_takes_one_component_for_normal_rows() -> None:
    rows = torch.randn(2000, 3, generator=seeded(), dtype=torch.float64)
    mixture = mixture_by_bic(rows)
    assert len(mixture.weights) == 1
    torch.testing.assert_close(mixture.log_prob(rows), Gaussian(rows).log_prob(rows), atol=1e-2, rtol=0)


def test_few_rows_far_out_get_a_wide_component() -> None:
    """0.99 N(0, I) + 0.01 N(0, 1000² I): E log p is −log 2π − 1 − 0.01 · 2 log 1000 − 0.056 (labels)."""
    rng = seeded()
    wide = torch.rand(5000, 1, generator=rng, dtype=torch.float64) < 0.01
    rows = torch.randn(5000, 2, generator=rng, dtype=torch.float64) * torch.where(wide, 1000.0, 1.0)
    found = mixture_by_bic(rows)
    best = -(math.log(2 * math.pi) + 1) - 0.01 * 2 * math.log(1000) - 0.056
    assert len(found.weights) == 2
    assert abs(float(found.weights.min()) - 0.01) < 5 * math.sqrt(0.01 / 5000)
    assert abs(float(found.log_prob(rows).mean()) - best) < 5 * 1.5 / math.sqrt(5000)


def test_units_of_the_columns_do_not_change_the_fit() -> None:
    rows, units = three_modes(), torch.tensor([1e3, 1e-3]).double()
    here, there = mixture_by_bic(rows), mixture_by_bic(rows * units)
    torch.testing.assert_close(there.log_prob(rows * units) + units.log().sum(), here.log_prob(rows))


def test_same_rows_are_fitted_once_and_each_caller_owns_its_copy() -> None:
    rows = three_modes()
    first, second = mixture_by_bic(rows), mixture_by_bic(rows.clone())
    first.float()
    first.means.zero_()
    assert second.means.dtype == torch.float64
    assert torch.equal(second.means, mixture_by_bic(rows).means)
    rows += 1
    torch.testing.assert_close(mixture_by_bic(rows).means, second.means + 1)


def test_state_of_any_number_of_components_is_loaded_bit_for_bit() -> None:
    rows = three_modes()
    mixture = mixture_by_bic(rows)
    empty = FittedMixture(shape=(2,)).double()
    assert not torch.equal(empty.log_prob(rows), mixture.log_prob(rows))
    empty.load_state_dict(mixture.state_dict())
    assert torch.equal(empty.log_prob(rows), mixture.log_prob(rows))
    assert torch.equal(copy.deepcopy(empty).sample(5, seeded()), mixture.sample(5, seeded()))
    with pytest.raises(RuntimeError, match="Missing key"):
        empty.load_state_dict({"means": mixture.means})


@pytest.mark.parametrize("name", hard_rows())
def test_hard_rows_give_finite_densities_that_are_not_singular(name: str) -> None:
    rows = hard_rows()[name]
    mixture = mixture_by_bic(rows)
    assert mixture.log_prob(rows).isfinite().all()
    assert mixture.log_prob(1e3 * rows + 1e3).isfinite().all()
    assert mixture.factors.diagonal(dim1=1, dim2=2).min() > 1e-4 * rows.abs().median().clamp_min(1e-2)
