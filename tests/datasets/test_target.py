"""Exact densities: each integrates to 1, has the derivatives that it computes, and is what its sampler draws from."""

import math

import pytest
import torch

from ebm_cli.datasets import (
    Banana,
    Checkerboard,
    Funnel,
    Gaussian,
    GaussianRing,
    Mixture,
    Moons,
    Pinwheel,
    Rings,
    TwoSpirals,
)
from tests.datasets.support import CONF, excess_chi_square, grid, shipped_target
from tests.support import seeded

SYNTHETIC = sorted(p.stem for p in CONF.glob("*.yaml") if "datasets.Synthetic" in p.read_text() and p.stem != "ica")
"""Densities of the plane; mixed sources, whose blurred density is not known, are tested in test_ica.py."""

SELDOM_SLOW = [
    pytest.param(name, marks=[pytest.mark.slow] if name in ("pinwheel", "two_spirals") else []) for name in SYNTHETIC
]
"""The same; their blurred densities are sums of many parts."""

pytestmark = pytest.mark.usefixtures("float64")


def test_shipped_targets_include_the_usual_ones():
    assert set(SYNTHETIC) >= {
        *("moons", "circles", "rings", "eight_gaussians", "twentyfive_gaussians", "pinwheel", "two_spirals"),
        *("checkerboard", "swiss_roll", "banana", "gaussian", "mixture", "funnel"),
    }


@pytest.mark.parametrize("name", SYNTHETIC)
def test_density_integrates_to_1_with_its_samplers_entropy(name: str):
    density = shipped_target(name)
    points, log_area = grid(density)
    log_p = density.log_prob(points)
    mass = (log_p + log_area).exp()
    assert abs(float(mass.sum()) - 1.0) < 1e-5
    entropy = -float((mass * log_p).sum())
    sampled = -density.log_prob(density.sample(40_000, seeded(1)))
    assert abs(float(sampled.mean()) - entropy) < 5.0 * float(sampled.std()) / math.sqrt(len(sampled))


@pytest.mark.parametrize("name", SYNTHETIC)
def test_score_and_hessian_are_finite_differences(name: str):
    density = shipped_target(name)
    x = density.sample(6, seeded(2)).requires_grad_()
    assert torch.autograd.gradcheck(density.log_prob, x)
    assert torch.autograd.gradgradcheck(density.log_prob, x)


@pytest.mark.parametrize("name", SYNTHETIC)
def test_sampler_fills_cells_as_the_density_predicts(name: str):
    density = shipped_target(name)
    assert excess_chi_square(density.sample(100_000, seeded(3)), density) < 5.0


def test_cell_counts_detect_a_blur_that_is_3_percent_off():
    assert excess_chi_square(Moons(noise=0.103).sample(100_000, seeded(3)), Moons(noise=0.1)) > 5.0


def test_cell_counts_detect_a_missing_mode():
    seven = Mixture(means=GaussianRing().means[:7].tolist(), stds=[0.3535534] * 7, weights=[1.0] * 7)
    assert excess_chi_square(seven.sample(100_000, seeded(3)), GaussianRing()) > 5.0


@pytest.mark.parametrize("name", SELDOM_SLOW)
@pytest.mark.parametrize("noise_std", [0.02, 0.2])
def test_smoothed_density_is_the_convolution(name: str, noise_std: float):
    density = shipped_target(name)
    smoothed = density.smoothed(noise_std)
    x = smoothed.sample(8, seeded(4))
    ticks = torch.linspace(-8.0, 8.0, 161)
    eps = torch.cartesian_prod(ticks, ticks)
    log_kernel = -0.5 * eps.square().sum(1) - math.log(2.0 * math.pi) + 2.0 * math.log(0.1)
    around = density.log_prob((x[:, None] + noise_std * eps).flatten(0, 1)).view(8, -1)
    assert (smoothed.log_prob(x) - torch.logsumexp(around + log_kernel, dim=1)).abs().max() < 1e-5


@pytest.mark.parametrize("name", SELDOM_SLOW)
def test_smoothed_sampler_has_the_smoothed_density(name: str):
    smoothed = shipped_target(name).smoothed(0.15)
    points, log_area = grid(smoothed, 128)
    log_p = smoothed.log_prob(points)
    entropy = -float(((log_p + log_area).exp() * log_p).sum())
    sampled = -smoothed.log_prob(smoothed.sample(5_000, seeded(5)))
    assert abs(float(sampled.mean()) - entropy) < 5.0 * float(sampled.std()) / math.sqrt(len(sampled))


@pytest.mark.parametrize("name", [name for name in SYNTHETIC if name != "pinwheel"])
def test_smoothing_twice_adds_the_noise_variances(name: str):
    twice, once = shipped_target(name).smoothed(0.12).smoothed(0.16), shipped_target(name).smoothed(0.2)
    x = once.sample(200, seeded(4))
    assert (twice.log_prob(x) - once.log_prob(x)).abs().max() < 1e-6


@pytest.mark.parametrize("name", SYNTHETIC)
def test_smoothing_without_noise_returns_the_same_object(name: str):
    density = shipped_target(name)
    assert density.smoothed(0.0) is density


@pytest.mark.parametrize("name", SYNTHETIC)
def test_far_tails_and_their_scores_are_finite_in_float32(name: str):
    density = shipped_target(name).float()
    far = torch.tensor([[0.0, 0.0], [0.01, 0.0], [30.0, -20.0], [-50.0, 3.0]], dtype=torch.float32).requires_grad_()
    log_p = density.log_prob(far)
    (score,) = torch.autograd.grad(log_p.sum(), far)
    assert log_p.dtype == torch.float32
    assert log_p.isfinite().all()
    assert score.isfinite().all()


@pytest.mark.parametrize("name", SYNTHETIC)
def test_modes_are_labels_below_n_modes(name: str):
    density = shipped_target(name)
    labels = density.modes(density.sample(20_000, seeded(6)))
    assert labels.dtype == torch.long
    assert sorted(labels.unique().tolist()) == list(range(density.n_modes))


@pytest.mark.parametrize(
    ("name", "n_modes"),
    [
        *(("moons", 2), ("circles", 2), ("rings", 4), ("eight_gaussians", 8), ("twentyfive_gaussians", 25)),
        *(("pinwheel", 5), ("two_spirals", 2), ("checkerboard", 8)),
    ],
)
def test_modes_are_equally_likely(name: str, n_modes: int):
    density, n = shipped_target(name), 40_000
    share = torch.bincount(density.modes(density.sample(n, seeded(8))), minlength=density.n_modes) / n
    assert density.n_modes == n_modes
    # Overlapping neighbours exchange points evenly by symmetry; rings differ in curvature, which costs ~ (σ/r)².
    slack = 1e-3 if name in ("circles", "rings") else 0.0
    assert (share - 1 / n_modes).abs().max() < slack + 5.0 * math.sqrt(1 / n_modes / n)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Moons(0.0), "noise must be > 0"),
        (lambda: Moons(math.inf), "noise must be finite"),
        (lambda: TwoSpirals(1e-5), "noise must be >= "),
        (lambda: Rings([], 0.1), "radii must be"),
        (lambda: Rings([1.0, -1.0], 0.1), "radii must be"),
        (lambda: GaussianRing(0), "n_modes must be >= 1"),
        (lambda: GaussianRing(8, -1.0), "radius must be > 0"),
        (lambda: Mixture([[0.0], [1.0, 2.0]], [1.0, 1.0], [1.0, 1.0]), "means must be"),
        (lambda: Mixture([[0.0]], [1.0, 1.0], [1.0]), "stds must be 1 numbers"),
        (lambda: Mixture([[0.0]], [1.0], [0.0]), "weights must be"),
        (lambda: Gaussian(0), "dim must be >= 1"),
        (lambda: Gaussian(2, [0.0]), "mean must be 2 numbers"),
        (lambda: Gaussian(2, None, [[1.0, 2.0], [2.0, 1.0]]), "cov must be symmetric and positive definite"),
        (lambda: Gaussian(2, None, [[1.0, 0.5], [0.0, 1.0]]), "cov must be symmetric and positive definite"),
        (lambda: Funnel(1), "dim must be >= 2"),
        (lambda: Banana(scale=-1.0), "scale must be > 0"),
        (lambda: Pinwheel(n_arms=0), "n_arms must be >= 1"),
        (lambda: Pinwheel().smoothed(1.0), "noise_std must be in"),
        (lambda: Checkerboard(-0.1), "noise must be > 0"),
    ],
)
def test_constructor_names_the_argument_that_it_refuses(make, message: str):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()
