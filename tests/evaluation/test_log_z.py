"""The choice between closed form, quadrature and annealing for log Z, and the reasons where none gives a number."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ebm_cli.energies.quadratic import Quadratic
from ebm_cli.evaluation.annealing import Annealed, anneal
from ebm_cli.evaluation.log_z import by_annealing, by_quadrature, closed_form, known
from ebm_cli.evaluation.not_integrable import NotIntegrable
from ebm_cli.evaluation.quadrature_grid import COARSE_GRID, Grid
from ebm_cli.evaluation.results import Results
from tests.evaluation.toys import LOG_2PI, exact_log_z, normal_density, skewed_gaussian
from tests.support import harmonic, normal, seeded


@pytest.fixture(scope="module")
def annealed() -> Annealed:
    return anneal(skewed_gaussian(), normal_density(3, 4.0), rng=seeded(), n_chains=200, n_temperatures=60)


def grid() -> Grid:
    return Grid.around(normal(1000, 2, seed=0), COARSE_GRID)


def test_a_known_log_z_is_exact() -> None:
    assert known(1.5).results == Results({"eval/log_z": 1.5, "eval/log_z_method": "exact"})
    assert (known(1.5).log_z, known(1.5).se) == (1.5, 0.0)


def test_closed_form_is_that_of_the_energy_if_it_has_one() -> None:
    energy = skewed_gaussian()
    found = closed_form(energy)
    assert found is not None
    assert found.log_z == exact_log_z(energy)
    assert closed_form(harmonic) is None


def test_quadrature_gives_log_z_where_there_is_no_closed_form() -> None:
    found = by_quadrature(harmonic, grid(), COARSE_GRID, (2,))
    assert list(found.results.values) == ["eval/log_z", "eval/log_z_method", "eval/border_mass"]
    assert found.results.values["eval/log_z_method"] == "grid"
    assert found.log_z == pytest.approx(LOG_2PI, abs=1e-5)
    assert found.quadrature is not None
    assert found.quadrature.log_z == found.log_z


def test_quadrature_stands_beside_a_closed_form() -> None:
    energy = Quadratic((2,), precision=2.0).double()
    found = by_quadrature(energy, grid(), COARSE_GRID, (2,))
    assert list(found.results.values) == ["eval/log_z", "eval/log_z_method", "eval/log_z_grid", "eval/border_mass"]
    assert found.results.values["eval/log_z_method"] == "exact"
    assert found.log_z == exact_log_z(energy)
    assert found.results.values["eval/log_z_grid"] == pytest.approx(found.log_z, abs=1e-5)


def test_failed_quadrature_leaves_closed_form_or_reason() -> None:
    class Undefined(Quadratic):  # type: ignore[misc]
        def forward(self, x: Tensor) -> Tensor:
            return torch.full((len(x),), math.nan)

    with_form = by_quadrature(Undefined((2,)), grid(), COARSE_GRID, (2,))
    assert with_form.results.values["eval/log_z_method"] == "exact"
    assert with_form.quadrature is None
    without = by_quadrature(lambda u: -u[:, 0], grid(), COARSE_GRID, (2,))
    assert without.log_z is None
    assert "not integrable" in without.results.absent["eval/log_z"]


def test_annealing_gives_log_z_with_its_error(annealed: Annealed) -> None:
    found = by_annealing(lambda: annealed)
    assert (found.log_z, found.se) == (annealed.log_z, annealed.log_z_se)
    assert found.results.values == {
        "eval/log_z": annealed.log_z,
        "eval/log_z_se": annealed.log_z_se,
        "eval/log_z_method": "ais",
        "eval/log_z_ess": annealed.ess,
    }
    assert found.results.notes == ()


def test_annealing_with_a_warning_has_a_note(annealed: Annealed) -> None:
    found = by_annealing(lambda: replace(annealed, warning="few chains"))
    assert found.log_z == annealed.log_z
    assert found.results.notes == ("log Z: few chains",)


def test_annealing_without_an_error_gives_no_log_z(annealed: Annealed) -> None:
    found = by_annealing(lambda: replace(annealed, log_z_se=math.inf, warning="few chains"))
    assert found.log_z is None
    assert found.results == Results(absent={"eval/log_z": "annealing gives no number: few chains"})


def test_annealing_that_fails_gives_its_reason() -> None:
    def fail() -> Annealed:
        raise NotIntegrable("the chains run away")

    assert by_annealing(fail).results.absent == {"eval/log_z": "the chains run away"}
