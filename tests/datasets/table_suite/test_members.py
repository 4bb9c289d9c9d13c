"""The densities of the suite: normalised, what their samplers draw from, and their modes where they are meant to be."""

import math

import pytest
import torch
from torch import Tensor

from ebm_cli.datasets import Target
from ebm_cli.datasets.table_suite.distributions import Gumbel, Logistic, Normal
from ebm_cli.datasets.table_suite.exact import WeightedSum
from ebm_cli.datasets.table_suite.members import MEMBERS, skewed_chain
from ebm_cli.datasets.table_suite.regression import Regression, product
from ebm_cli.datasets.table_suite.shapes import Shell
from tests.datasets.support import excess_chi_square
from tests.support import seeded

SHAPES = {name: member.build().shape[0] for name, member in MEMBERS.items()}
PLANE = [name for name, dim in SHAPES.items() if dim == 2]
SMOOTH = [name for name in PLANE if name != "laplace_grid"]

pytestmark = pytest.mark.usefixtures("float64")


def test_suite_covers_what_the_rule_asks_of_it():
    assert len(MEMBERS) >= 12
    assert min(SHAPES.values()) == 1
    assert max(SHAPES.values()) == 20
    assert min(member.n_rows for member in MEMBERS.values()) == 1_000
    assert max(member.n_rows for member in MEMBERS.values()) == 100_000
    assert 4 * sum(member.is_baselines for member in MEMBERS.values()) <= len(MEMBERS)


def mass_of_the_plane(density: Target) -> float:
    """∫ p over the plane, through x = c + sinh t in both coordinates: fine at the centre c and 400 units wide."""
    centre = density.sample(4_000, seeded()).median(0).values
    t = torch.linspace(-6.0, 6.0, 601)
    log_area = t.cosh().log() + (t[1] - t[0]).log()
    points = torch.cartesian_prod(centre[0] + t.sinh(), centre[1] + t.sinh())
    logs = density.log_prob(points) + torch.cartesian_prod(log_area, log_area).sum(1)
    return float(logs.exp().sum())


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == "spiral_arm" else []) for name in SMOOTH]
)
def test_smooth_density_of_the_plane_integrates_to_1(name: str):
    assert abs(mass_of_the_plane(MEMBERS[name].build()) - 1.0) < 1e-4


def test_density_with_cusps_has_the_sum_of_laplaces():
    """Σ h exp(−|kh|/b)/(2b) = (h/2b) coth(h/2b), over a lattice of step h through all cusps."""
    t, h = torch.linspace(-18.0, 18.0, 721), 0.05
    found = float(MEMBERS["laplace_grid"].build().log_prob(torch.cartesian_prod(t, t)).exp().sum()) * h * h
    right = math.prod(h / (2 * b) / math.tanh(h / (2 * b)) for b in (0.3, 0.45))
    assert abs(found - right) < 1e-6


@pytest.mark.parametrize("name", PLANE)
def test_sampler_fills_the_cells_of_the_plane(name: str):
    density = MEMBERS[name].build()
    assert excess_chi_square(density.sample(100_000, seeded(3)), density) < 5.0


def test_density_of_the_line_integrates_to_1():
    density = MEMBERS["skewed_modes"].build()
    t = torch.linspace(-12.0, 12.0, 200_001)
    mass = (density.log_prob(t.sinh()[:, None]) + t.cosh().log()).exp().sum() * (t[1] - t[0])
    assert abs(float(mass) - 1.0) < 1e-6


def test_shell_integrates_to_1_in_spherical_coordinates():
    """Over log r and cos θ; the density does not depend on the third angle."""
    log_r, c = torch.linspace(-1.2, 1.2, 801), torch.linspace(-1.0, 1.0, 2_001)[:-1] + 0.0005
    grid = torch.cartesian_prod(log_r, c)
    r, flat = grid[:, 0].exp(), (1.0 - grid[:, 1].square()).sqrt()
    x = torch.stack([r * flat, torch.zeros_like(r), r * grid[:, 1]], dim=1)
    mass = Shell().log_prob(x).exp() * r**3 * 2.0 * math.pi * (log_r[1] - log_r[0]) * 0.001
    assert abs(float(mass.sum()) - 1.0) < 1e-5


def stein(density: Target, x: Tensor) -> Tensor:
    """E[∇·g + g·∇log p] in standard errors [D], with g_j = tanh((x_j − m_j)/s_j): 0 for samples of the density."""
    middle, scale = x.median(0).values, (x.quantile(0.84, 0) - x.quantile(0.16, 0)) / 2
    x = x.clone().requires_grad_()
    (score,) = torch.autograd.grad(density.log_prob(x).sum(), x)
    g = ((x - middle) / scale).tanh()
    terms = ((1.0 - g.square()) / scale + g * score).detach()
    return terms.mean(0) / terms.std(0) * math.sqrt(len(x))


@pytest.mark.parametrize("name", MEMBERS)
def test_samples_and_score_fulfil_steins_identity(name: str):
    density = MEMBERS[name].build()
    assert stein(density, density.sample(20_000, seeded(4))).abs().max() < 5.0


def test_steins_identity_detects_a_column_that_is_scaled():
    density = MEMBERS["factors"].build()
    x = density.sample(20_000, seeded(4))
    x[:, 7] *= 1.05
    assert stein(density, x).abs().max() > 5.0


@pytest.mark.parametrize("name", [name for name, member in MEMBERS.items() if isinstance(member.build(), Regression)])
def test_log_density_of_a_regression_is_its_change_of_variables(name: str):
    density = MEMBERS[name].build()
    assert isinstance(density, Regression)
    e = torch.stack(
        [distribution.sample(3, seeded(5), density.origin) for distribution in density.distributions], dim=1
    )
    x = density.from_noise(e)
    for row, noise, log_p in zip(x, e, density.log_prob(x), strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda one: density.from_noise(one[None])[0], noise)
        log_e = sum(
            float(distribution.log_prob(value))
            for distribution, value in zip(density.distributions, noise, strict=True)
        )
        assert abs(float(log_p) - (log_e - float(torch.linalg.slogdet(jacobian)[1]))) < 1e-8, row


def test_positive_columns_have_no_mass_below_zero():
    density = skewed_chain()
    x = density.sample(10_000, seeded())
    assert x[:, [1, 4]].min() > 0
    x[:, 1] = -x[:, 1]
    assert density.log_prob(x).max() < -500


def test_weighted_sum_is_the_sum_of_its_parts():
    parts = [product([Normal()], [0.0], [1.0]), product([Gumbel()], [6.0], [0.5]), product([Logistic()], [-9.0], [0.3])]
    density, x = WeightedSum(parts, [5.0, 3.0, 2.0]), torch.linspace(-12.0, 9.0, 50)[:, None]
    by_hand = sum(w * part.log_prob(x).exp() for w, part in zip((0.5, 0.3, 0.2), parts, strict=True))
    torch.testing.assert_close(density.log_prob(x).exp(), by_hand)
    share = torch.bincount(density.modes(density.sample(40_000, seeded())), minlength=3) / 40_000
    assert (share - torch.tensor([0.5, 0.3, 0.2])).abs().max() < 5.0 * math.sqrt(0.25 / 40_000) + 2e-3


@pytest.mark.parametrize(
    ("name", "weights"), [("skewed_modes", [0.5, 0.35, 0.15]), ("curved_clusters", [0.6, 0.3, 0.1])]
)
def test_separate_modes_have_their_weights(name: str, weights: list[float]):
    density = MEMBERS[name].build()
    share = torch.bincount(density.modes(density.sample(40_000, seeded(2))), minlength=3) / 40_000
    assert (share - torch.tensor(weights)).abs().max() < 0.015


def test_density_of_the_suite_refuses_smoothing():
    with pytest.raises(ValueError, match=r"^noise_std must be 0"):
        Shell().smoothed(0.1)
