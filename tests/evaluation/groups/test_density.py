"""The metric group `density`: its keys in order, learned and annealed log Z, and the method's own densities."""

import math

import pytest
import torch
from torch import Tensor

from ebm_cli.datasets import Gaussian, Mixture, Synthetic, Table
from ebm_cli.densities import Density
from ebm_cli.densities import Gaussian as FittedGaussian
from ebm_cli.densities.mixture_by_bic import mixture_by_bic
from ebm_cli.energies import Energy
from ebm_cli.energies.quadratic import Quadratic
from ebm_cli.evaluation.divergences import Divergences
from ebm_cli.evaluation.expectation import DataDistribution
from ebm_cli.evaluation.log_z import known
from ebm_cli.evaluation.results import Results
from ebm_cli.methods.sm import SM
from tests.evaluation.toys import Bent, FunctionEnergy, Rows, skewed_gaussian, small_evaluation
from tests.support import normal

DIVERGENCES = ["eval/entropy", "eval/nll", "eval/kl", "eval/log_density_mse", "eval/nll_vs_gaussian"]


class WithFlow(SM):  # type: ignore[misc]
    """A method that has learned log Z and a density of its own."""

    has_comparable_loss = False

    def __init__(self, density: Density) -> None:
        super().__init__()
        self.own = density

    def learned_log_z(self, energy: Energy) -> Tensor:
        return torch.tensor(1.0)

    def densities(self) -> dict[str, Density]:
        return {"flow": self.own}


def test_keys_in_the_plane_are_in_order() -> None:
    found = small_evaluation(FunctionEnergy(2), Synthetic(Gaussian(2)), "density").results
    log_z = ["eval/log_z", "eval/log_z_method", "eval/border_mass"]
    assert list(found.values) == [*log_z, *DIVERGENCES, "eval/objective"]


def test_the_fisher_divergence_keeps_its_place() -> None:
    both = small_evaluation(FunctionEnergy(2), Synthetic(Gaussian(2)), "score", "density").results
    keys = list(both.values)
    assert keys[3:6] == ["eval/entropy", "eval/fisher", "eval/fisher_flat"]
    assert keys[-3:] == ["eval/objective", "eval/ksd", "eval/ksd_p"]


def test_three_dimensions_anneal_where_there_is_no_log_z() -> None:
    found = small_evaluation(FunctionEnergy(3), Synthetic(Gaussian(3)), "density", n_temperatures=100).results.values
    assert found["eval/log_z_method"] == "ais"
    assert found["eval/log_z"] == pytest.approx(1.5 * math.log(2 * math.pi), abs=5 * found["eval/log_z_se"])
    assert {"eval/kl", "eval/kl_se", "eval/nll_se"} <= set(found)
    # Annealing beside itself says nothing.
    assert (
        "eval/log_z_ais"
        not in small_evaluation(FunctionEnergy(3), Synthetic(Gaussian(3)), "density", "chains").results.values
    )


def test_learned_log_z_and_densities_of_the_method_are_reported() -> None:
    data = Synthetic(Gaussian(2))
    method = WithFlow(FittedGaussian(data.reference))
    found = small_evaluation(Quadratic((2,)), data, "density", method=method).results.values
    assert found["eval/log_z_gap"] == pytest.approx(1.0 - math.log(2 * math.pi), abs=1e-5)
    assert found["eval/flow_kl"] == pytest.approx(0.0, abs=0.01)
    assert found["eval/flow_nll"] == pytest.approx(found["eval/entropy"] + found["eval/flow_kl"], abs=1e-9)
    assert "eval/objective" not in found


@pytest.mark.parametrize("dim", [2, 3])
def test_density_of_the_method_is_normalised_in_the_plane_alone(dim: int) -> None:
    """There its own sum is taken; beyond, its log-density is believed, and one that is twice too large shows."""

    class Twice(FittedGaussian):  # type: ignore[misc]
        def log_prob(self, x: Tensor) -> Tensor:
            return super().log_prob(x) + math.log(2)

    data = Synthetic(Gaussian(dim))
    found = small_evaluation(Quadratic((dim,)), data, "density", method=WithFlow(Twice(data.reference))).results.values
    assert found["eval/flow_kl"] == pytest.approx(0.0 if dim == 2 else -math.log(2), abs=0.05)


def test_exact_log_z_has_annealing_beside_it_if_chains_run() -> None:
    data, energy = Synthetic(Gaussian(3)), skewed_gaussian()
    assert "eval/log_z_ais" not in small_evaluation(energy, data, "density").results.values
    found = small_evaluation(energy, data, "density", "chains", n_temperatures=100).results.values
    assert found["eval/log_z_ais"] == pytest.approx(found["eval/log_z"], abs=5 * found["eval/log_z_ais_se"])
    assert found["eval/log_z_ais_gap"] == pytest.approx(found["eval/log_z_ais_upper"] - found["eval/log_z_ais"])


def test_annealing_that_fails_beside_an_exact_log_z_has_a_reason() -> None:
    """Mass that quadrature finds far away, where no chain starts."""

    def far(u: Tensor) -> Tensor:
        square = (u - torch.tensor([60.0, 0.0])).square().sum(1)
        return torch.where(square < 100, square / 2, math.inf)

    found = small_evaluation(FunctionEnergy(2, far), Synthetic(Gaussian(2)), "density", "chains").results
    assert found.values["eval/log_z_method"] == "grid"
    assert "infinite at all of 256 points" in found.absent["eval/log_z_ais"]
    assert any(note.startswith("chains start at noise, since annealing failed: ") for note in found.notes)


def test_a_mode_with_a_wrong_mass_is_noted() -> None:
    data = Synthetic(Mixture([[-4.0, 0.0], [4.0, 0.0]], [0.5, 0.5], [0.5, 0.5]), standardize=False)
    narrow = FunctionEnergy(2, lambda u: 2 * (u - torch.tensor([4.0, 0.0])).square().sum(1))
    [note] = small_evaluation(narrow, data, "density").results.notes
    assert note == "mode 0 has 0.000 of the model's probability, and 0.500 of the data's"


def test_real_data_have_mode_weights_after_their_likelihood() -> None:
    x = normal(200, 2, seed=0).float()
    x[::4, 0] += 8.0
    found = small_evaluation(FunctionEnergy(2), Rows(x), "density", n_samples=200).results
    keys = list(found.values)
    assert keys[keys.index("eval/nll_vs_gaussian_se") + 1 :][:3] == [
        "eval/mode_tv",
        "eval/mode_tv_null",
        "eval/mode_tv_se",
    ]


def test_table_is_compared_with_the_mixture_row_by_row() -> None:
    """The mixture itself ties, whatever its unit; the Gaussian is worse by the difference of their likelihoods."""
    data = Table("wine")
    mixture, gaussian = mixture_by_bic(data.reference), FittedGaussian(data.reference)

    def results_of(density: Density) -> Results:
        return Divergences(data, 100)(Bent(density), known(0.0)).results

    tie, other = results_of(mixture).values, results_of(gaussian).values
    assert tie["eval/nll_vs_mixture"] == pytest.approx(0, abs=1e-4)
    assert tie["eval/nll_vs_mixture_se"] == pytest.approx(0, abs=1e-4)
    rows = data.standardised_rows("test", 100)
    difference = (mixture.log_prob(rows) - gaussian.log_prob(rows)).double()
    assert other["eval/nll_vs_mixture"] == pytest.approx(float(difference.mean()), abs=1e-4)
    assert other["eval/nll_vs_mixture_se"] == pytest.approx(float(difference.std()) / math.sqrt(len(rows)), rel=1e-3)


def test_absent_mixture_has_its_reason() -> None:
    rows = small_evaluation(FunctionEnergy(2), Rows(normal(200, 2, seed=0).float()), "density", n_samples=200).results
    assert rows.absent["eval/nll_vs_mixture"] == "a mixture of Gaussians is fitted to tables only"
    wide = Rows(normal(200, 65, seed=0).float(), is_table=True)
    assert DataDistribution(wide).no_mixture == "a mixture is fitted to at most 64 columns, and there are 65"
