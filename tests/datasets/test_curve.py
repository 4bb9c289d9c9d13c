"""Blurred curves: their quadrature is exact, and they are the curves of scikit-learn."""

import pytest
import torch
from sklearn.datasets import make_moons, make_swiss_roll

from ebm_cli.datasets import Moons, SwissRoll, TwoSpirals
from tests.datasets.support import excess_chi_square
from tests.support import seeded

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("cls", [Moons, TwoSpirals, SwissRoll])
@pytest.mark.parametrize("noise", [0.07, 0.2, 1.0])
def test_quadrature_agrees_with_one_five_times_as_fine(cls: type, noise: float):
    density = cls(noise)
    x = torch.cat([9.0 * torch.rand(3000, 2, generator=seeded()) - 4.5, density.sample(1000, seeded())])
    reference = density.quadrature(0.2).log_prob(x)
    error = (density.log_prob(x) - reference).abs()
    assert error[-1000:].max() < 1e-6
    assert error[reference > -50].max() < 1e-4
    assert error.max() < 0.05, "nats, of thousands"


def test_quadrature_that_is_too_coarse_disagrees():
    density = TwoSpirals(0.1)
    x = density.sample(1000, seeded())
    assert (density.quadrature(2.0).log_prob(x) - density.log_prob(x)).abs().max() > 1e-4


def test_float32_is_right_to_1e_4_nats():
    density = TwoSpirals(0.1)
    x = density.sample(5000, seeded())
    reference = density.log_prob(x)
    assert (density.float().log_prob(x.float()) - reference).abs().max() < 1e-4


def test_moons_are_those_of_scikit_learn():
    theirs, _ = make_moons(100_000, noise=0.1, random_state=0)
    x = torch.from_numpy(theirs)
    assert excess_chi_square(x, Moons(0.1)) < 5.0
    assert excess_chi_square(x, Moons(0.103)) > 5.0
    narrow, labels = make_moons(1000, noise=0.05, random_state=0)
    assert (Moons(0.05).modes(torch.from_numpy(narrow)) == torch.from_numpy(labels)).all()


def test_swiss_roll_is_that_of_scikit_learn_seen_from_its_end():
    x = torch.from_numpy(make_swiss_roll(100_000, noise=1.0, random_state=0)[0][:, [0, 2]] / 5.0)
    assert excess_chi_square(x, SwissRoll(0.2)) < 5.0
    assert excess_chi_square(x, SwissRoll(0.212)) > 5.0
