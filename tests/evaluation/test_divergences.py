"""Divergences of a model from the data against closed forms, and where they cannot be computed."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from ebm_cli.datasets import Gaussian, Mixture, Synthetic
from ebm_cli.datasets.base import Dataset
from ebm_cli.densities import Gaussian as FittedGaussian
from ebm_cli.energies.mlp import MLP
from ebm_cli.energies.quadratic import Quadratic
from ebm_cli.evaluation.divergences import DivergenceResult, Divergences, counted_mode_tv, with_learned_log_z
from ebm_cli.evaluation.log_z import Normalisation
from ebm_cli.evaluation.quadrature_grid import COARSE_GRID, FINE_GRID, Resolution
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.values import Value
from tests.evaluation.toys import LOG_2PI, Bumps, Rows
from tests.support import harmonic, normal, seeded

MEAN = torch.tensor([3.0, -1.0], dtype=torch.float64)
COV = torch.tensor([[4.0, 1.2], [1.2, 0.81]], dtype=torch.float64)
MODEL_MEAN = torch.tensor([3.5, -1.4], dtype=torch.float64)
MODEL_COV = torch.tensor([[5.0, 0.5], [0.5, 1.1]], dtype=torch.float64)


@pytest.fixture(autouse=True)
def _double_precision() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def divergences_of(energy: Callable[[Tensor], Tensor], data: Dataset, **how: Any) -> DivergenceResult:
    return Divergences(data, **how)(energy)


def values_of(energy: Callable[[Tensor], Tensor], data: Dataset, **how: Any) -> dict[str, Value]:
    return divergences_of(energy, data, **how).results.values


def two_gaussians(offset: float = 0.0) -> tuple[Synthetic, Callable[[Tensor], Tensor]]:
    """p = N(MEAN, COV) in data units; the model N(MODEL_MEAN, MODEL_COV) as an energy in standardised units."""
    data = Synthetic(Gaussian(2, MEAN.tolist(), COV.tolist()))
    assert not torch.allclose(data.standardizer.scale, torch.ones(2), atol=0.05)
    precision = torch.linalg.inv(MODEL_COV)

    def energy(u: Tensor) -> Tensor:
        x = data.standardizer.inverse(u) - MODEL_MEAN
        return 0.5 * ((x @ precision) * x).sum(1) + offset

    return data, energy


# --- closed forms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resolution", [FINE_GRID, COARSE_GRID])
def test_divergences_of_two_gaussians_have_their_closed_forms(resolution: Resolution) -> None:
    data, energy = two_gaussians(offset=-7.0)
    values = values_of(energy, data, resolution=resolution)
    precision, shift = torch.linalg.inv(MODEL_COV), MEAN - MODEL_MEAN
    kl = 0.5 * float((precision @ COV).trace() + shift @ precision @ shift - 2 + MODEL_COV.logdet() - COV.logdet())
    entropy = LOG_2PI + 1 + 0.5 * float(COV.logdet())
    # log p − log q = ½ (yᵀ B y + 2 gᵀy) + const with y = x − m, B = A⁻¹ − S⁻¹, g = A⁻¹(m − a)
    gap, slope = precision - torch.linalg.inv(COV), precision @ shift
    variance = 0.5 * float((gap @ COV @ gap @ COV).trace()) + float(slope @ COV @ slope)
    fisher = 0.5 * float((gap @ COV @ gap).trace() + slope @ slope)
    log_z = LOG_2PI + 0.5 * float(MODEL_COV.logdet()) + 7.0 - float(data.standardizer.log_det)
    assert values["eval/kl"] == pytest.approx(kl, abs=1e-6)
    assert values["eval/entropy"] == pytest.approx(entropy, abs=1e-6)
    assert values["eval/nll"] == pytest.approx(kl + entropy, abs=1e-6)
    assert values["eval/log_density_mse"] == pytest.approx(variance + kl**2, abs=1e-6)
    assert values["eval/fisher"] == pytest.approx(fisher, abs=1e-6)
    assert values["eval/log_z"] == pytest.approx(log_z, abs=1e-8)
    assert values["eval/log_z_method"] == "grid"
    assert "eval/mode_tv" not in values


def test_the_data_have_no_divergence_from_themselves() -> None:
    data, _ = two_gaussians()
    values = values_of(lambda u: -data.density.log_prob(data.standardizer.inverse(u)), data)
    for key in ("eval/kl", "eval/log_density_mse", "eval/fisher"):
        assert values[key] == pytest.approx(0, abs=1e-9)


def test_divergences_on_the_line_have_their_closed_forms() -> None:
    data = Synthetic(Gaussian(1, [2.0], [[9.0]]))
    values = values_of(lambda u: (data.standardizer.inverse(u)[:, 0] - 1.0) ** 2 / 8, data)
    assert values["eval/kl"] == pytest.approx(math.log(2 / 3) + 10 / 8 - 0.5, abs=1e-6)
    assert values["eval/fisher"] == pytest.approx(0.5 * (9 * (1 / 4 - 1 / 9) ** 2 + (1 / 4) ** 2), abs=1e-6)


def test_mass_far_from_the_data_raises_the_kl() -> None:
    data = Synthetic(Gaussian(2), standardize=False)
    far = Bumps(torch.tensor([[0.0, 0.0], [30.0, 0.0]]), torch.tensor([1.0, 0.5]), torch.tensor([0.7, 0.3]))
    assert values_of(far, data)["eval/kl"] == pytest.approx(-math.log(0.7), abs=1e-6)


# --- mode masses ------------------------------------------------------------------------------------------------------

MODES = [[-4.0, 0.0], [4.0, 0.0], [0.0, 6.0]]
STDS = [0.5, 0.4, 0.6]


def with_mode_weights(*weights: float) -> DivergenceResult:
    """A mixture of weights 0.5, 0.3, 0.2, and a model with other weights."""
    data = Synthetic(Mixture(MODES, STDS, [0.5, 0.3, 0.2]))
    model = Bumps(torch.tensor(MODES), torch.tensor(STDS), torch.tensor(weights))
    return divergences_of(lambda u: model(data.standardizer.inverse(u)), data)


def test_mode_masses_are_those_of_a_mixture_with_other_weights() -> None:
    found = with_mode_weights(0.2, 0.35, 0.45)
    assert found.results.values["eval/mode_tv"] == pytest.approx(0.3, abs=1e-6)
    torch.testing.assert_close(found.data_modes, torch.tensor([0.5, 0.3, 0.2]), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.model_modes, torch.tensor([0.2, 0.35, 0.45]), atol=1e-6, rtol=0)


def test_a_mode_with_a_wrong_mass_is_named() -> None:
    assert with_mode_weights(0.2, 0.35, 0.45).results.notes == (
        "mode 0 has 0.200 of the model's probability, and 0.500 of the data's",
    )
    assert with_mode_weights(0.515, 0.26, 0.225).results.notes[0].startswith("mode 1 has 0.260")
    assert with_mode_weights(0.49, 0.31, 0.2).results.notes == ()


def test_counted_mode_tv_is_that_of_the_shares() -> None:
    density = Mixture(MODES, STDS, [0.5, 0.3, 0.2])
    rows = torch.tensor(MODES)[[0, 0, 1, 1, 0, 0, 1, 2]]
    model = torch.tensor(MODES)[[0, 2, 2, 2]]
    # The others have shares ½, ¼, ¼; the model ¼, 0, ¾; the rows that are held back ½, ½, 0.
    assert counted_mode_tv(density, model, rows) == {
        "eval/mode_tv": pytest.approx(0.5),
        "eval/mode_tv_null": pytest.approx(0.25),
    }
    assert counted_mode_tv(density, model, rows[:4]) == {}


# --- log Z ------------------------------------------------------------------------------------------------------------


def test_an_energy_without_log_z_has_a_reason_and_its_fisher() -> None:
    found = divergences_of(lambda u: -u[:, 0], Synthetic(Gaussian(2))).results
    assert "not integrable" in found.absent["eval/log_z"]
    assert set(found.values) == {"eval/entropy", "eval/fisher", "eval/fisher_flat"}


def test_a_closed_form_of_log_z_is_preferred() -> None:
    values = values_of(Quadratic((2,), precision=2.0), Synthetic(Gaussian(2)))
    assert values["eval/log_z_method"] == "exact"
    assert values["eval/log_z"] == pytest.approx(LOG_2PI - math.log(2), abs=1e-12)
    assert values["eval/log_z_grid"] == pytest.approx(LOG_2PI - math.log(2), abs=1e-8)


def test_many_dimensions_need_a_closed_form_of_log_z() -> None:
    data = Synthetic(Gaussian(5))
    without = divergences_of(harmonic, data).results
    assert without.absent["eval/log_z"] == "no closed form, and no grid in 5 dimensions"
    assert set(without.values) == {"eval/entropy", "eval/fisher", "eval/fisher_flat"}
    # A model without a score is as far from N(0, I) as half its Fisher information, D/2: ½ E‖x‖².
    error = math.sqrt(10) / 2 / math.sqrt(10_000)
    assert without.values["eval/fisher_flat"] == pytest.approx(2.5, abs=5 * error)
    values = values_of(Quadratic((5,), precision=1.5), data, n_rows=20_000)
    # Five standard errors of the mean of ¼‖u‖² − const over 20,000 rows.
    exact = 0.5 * 5 * (1.5 - 1 - math.log(1.5))
    assert values["eval/kl"] == pytest.approx(exact, abs=5 * math.sqrt(10) / 4 / math.sqrt(20_000))
    assert values["eval/log_z_method"] == "exact"


def test_the_error_of_log_z_is_in_the_error_of_the_kl() -> None:
    data, model = Synthetic(Gaussian(5)), Quadratic((5,), precision=1.5)
    exact = Divergences(data)(model).results.values
    vague = Divergences(data)(model, Normalisation(2.0, se=0.3)).results.values
    assert vague["eval/kl_se"] == pytest.approx(math.hypot(exact["eval/kl_se"], 0.3))


def test_a_learned_log_z_has_a_gap_to_an_independent_one() -> None:
    assert with_learned_log_z(Results({"eval/log_z": 1.5}), 2.0).values["eval/log_z_gap"] == pytest.approx(0.5)
    assert with_learned_log_z(Results(), 2.0).values == {"eval/log_z_learned": 2.0}


def test_a_divergence_that_is_not_finite_is_absent() -> None:
    data = Synthetic(Gaussian(3))
    found = Divergences(data)(lambda u: u.sum(1) * math.inf, Normalisation(0.0)).results
    assert "eval/kl" not in found.values
    assert found.absent["eval/kl"] == "its value is nan"
    assert "eval/entropy" in found.values


# --- unknown data -----------------------------------------------------------------------------------------------------


def test_unknown_data_have_a_likelihood_and_no_kl() -> None:
    rows = torch.randn(4000, 2, generator=seeded()) * torch.tensor([2.0, 0.5])
    data = Rows(rows)
    values = values_of(harmonic, data, n_rows=4000)
    expected = torch.distributions.Normal(data.standardizer.mean, data.standardizer.scale).log_prob(rows).sum(1).mean()
    assert values["eval/nll"] == pytest.approx(-float(expected), abs=1e-8)
    differences = {"eval/nll_vs_gaussian", "eval/nll_vs_gaussian_se"}
    assert set(values) - differences == {
        "eval/log_z", "eval/log_z_method", "eval/border_mass", "eval/nll", "eval/nll_se"
    }  # fmt: skip


def test_a_model_of_unknown_data_is_compared_with_a_gaussian() -> None:
    """A model that is the fitted Gaussian ties exactly; N(0, 4 I) loses by KL(N(0, I) ‖ N(0, 4 I)) a row."""
    data = Rows(normal(4000, 2, seed=0))
    fitted = FittedGaussian(data.reference)
    tie = values_of(lambda u: -fitted.log_prob(u), data, n_rows=4000)
    assert tie["eval/nll_vs_gaussian"] == pytest.approx(0, abs=1e-9)
    wide = values_of(lambda u: u.square().sum(1) / 8, data, n_rows=4000)
    error = wide["eval/nll_vs_gaussian_se"]
    assert wide["eval/nll_vs_gaussian"] == pytest.approx(2 * math.log(2) - 0.75, abs=5 * error)
    # The rows' ⅜‖u‖² has standard deviation ¾: nothing else varies.
    assert error == pytest.approx(0.75 / math.sqrt(4000), rel=0.1)


# --- costs ------------------------------------------------------------------------------------------------------------


def test_a_second_energy_calls_nothing_of_the_data() -> None:
    data = Synthetic(Gaussian(2))
    divergences = Divergences(data, resolution=COARSE_GRID)
    first = divergences(lambda u: 0.4 * u.square().sum(1))
    data.density = None  # type: ignore[assignment]
    assert divergences(lambda u: 0.4 * u.square().sum(1)).results == first.results


def test_divergences_leave_no_gradient_in_the_energy() -> None:
    network = MLP(shape=(2,), width=16)
    divergences_of(network, Synthetic(Gaussian(2)), resolution=COARSE_GRID)
    assert all(p.grad is None for p in network.parameters())


def test_divergences_of_a_network_take_seconds() -> None:
    torch.manual_seed(0)
    divergences = Divergences(Synthetic(Gaussian(2)))
    network = MLP(shape=(2,)).float()
    start = time.process_time()
    divergences(network)
    assert time.process_time() - start < 5
