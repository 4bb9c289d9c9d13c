"""Every density integrates to 1, has the gradient that it says, and is what its sampler draws from."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from sklearn.datasets import make_moons, make_swiss_roll
from torch import Tensor

from ebm_cli.config.build import build
from ebm_cli.datasets import (
    Banana,
    Checkerboard,
    Dataset,
    Funnel,
    Gaussian,
    GaussianRing,
    Mixture,
    Moons,
    Pinwheel,
    Rings,
    SwissRoll,
    Target,
    TwoSpirals,
    curve,
)
from ebm_cli.datasets.gaussian_sums import KEPT_NUMBERS, gauss_legendre
from tests.support import seeded

CONF = Path(__file__).parents[2] / "conf" / "dataset"
SYNTHETIC = sorted(p.stem for p in CONF.glob("*.yaml") if "datasets.Synthetic" in p.read_text() and p.stem != "ica")
"""Those of the plane; mixed sources, whose blurred density is not known, have tests of their own in test_ica.py."""


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def dataset(name: str, **keys: object) -> Dataset:
    cfg = OmegaConf.merge(OmegaConf.load(CONF / f"{name}.yaml"), keys)
    built = build(cfg, "dataset", Dataset, trust=None)
    assert isinstance(built, Dataset)
    return built


def target(name: str) -> Target:
    density = dataset(name).density
    assert isinstance(density, Target)
    return density


def grid(density: Target, n: int = 192) -> tuple[Tensor, Tensor]:
    """Points [M, 2] and the logarithm of the area [M] that each stands for, over all that carries mass.

    A smooth density that vanishes at the border is summed exactly, to rounding, by a grid finer than its finest length.
    """
    if "Funnel" in f"{type(density).__name__} {type(getattr(density, 'target', None)).__name__}":
        # Its width varies from e⁻⁴ to e⁴: x₂ = e^{v/2} z, dx₂ = e^{v/2} dz.
        n = 2 * n
        v = torch.linspace(-9.0, 9.0, n)
        z = torch.linspace(-9.0, 9.0, n)
        vz = torch.cartesian_prod(v, z)
        log_area = vz[:, 0] / 2 + 2 * math.log(18.0 / (n - 1))
        return torch.stack([vz[:, 0], (vz[:, 0] / 2).exp() * vz[:, 1]], dim=1), log_area
    x = density.sample(20_000, seeded(7))
    margin = x.std(dim=0)
    low, high = x.amin(0) - margin, x.amax(0) + margin
    points = torch.cartesian_prod(*[torch.linspace(float(a), float(b), n) for a, b in zip(low, high, strict=True)])
    return points, ((high - low) / (n - 1)).log().sum().expand(len(points))


def excess_chi_square(x: Tensor, density: Target) -> float:
    """(χ² − k) / √(2k) of counts over k cells and the rest against the density's masses: about N(0, 1) if they agree.

    The cells are 24 × 24 over nearly all of x, each a sum over 15 × 15 midpoints.
    """
    low, high = torch.quantile(x, 0.002, dim=0), torch.quantile(x, 0.998, dim=0)
    cell = (high - low) / 24
    middles = [low[d] + cell[d] / 15 * (torch.arange(24 * 15) + 0.5) for d in range(2)]
    p = density.log_prob(torch.cartesian_prod(*middles)).exp() * (cell / 15).prod()
    expected = len(x) * p.view(24, 15, 24, 15).sum((1, 3)).flatten()
    index = ((x - low) / cell).floor().long()
    index = index[((index >= 0) & (index < 24)).all(1)]
    observed = torch.bincount(24 * index[:, 0] + index[:, 1], minlength=24 * 24)
    kept = expected > 20
    observed = torch.cat([observed[kept], (len(x) - observed[kept].sum())[None]])
    expected = torch.cat([expected[kept], (len(x) - expected[kept].sum())[None]])
    k = int(kept.sum())
    return float((((observed - expected) ** 2 / expected).sum() - k) / math.sqrt(2 * k))


# --- every data set of conf/dataset -----------------------------------------------------------------------------------


def test_the_issue_names_these_sets():
    assert set(SYNTHETIC) >= {
        *("moons", "circles", "rings", "eight_gaussians", "twentyfive_gaussians", "pinwheel", "two_spirals"),
        *("checkerboard", "swiss_roll", "banana", "gaussian", "mixture", "funnel"),
    }


@pytest.mark.parametrize("name", SYNTHETIC)
def test_a_density_integrates_to_1_and_its_sampler_has_its_entropy(name: str):
    density = target(name)
    points, log_area = grid(density)
    log_p = density.log_prob(points)
    mass = (log_p + log_area).exp()
    assert abs(float(mass.sum()) - 1.0) < 1e-5
    entropy = -float((mass * log_p).sum())
    sampled = -density.log_prob(density.sample(40_000, seeded(1)))
    assert abs(float(sampled.mean()) - entropy) < 5.0 * float(sampled.std()) / math.sqrt(len(sampled))


@pytest.mark.parametrize("name", SYNTHETIC)
def test_score_and_hessian_are_the_finite_differences(name: str):
    density = target(name)
    x = density.sample(6, seeded(2)).requires_grad_()
    assert torch.autograd.gradcheck(density.log_prob, x)
    assert torch.autograd.gradgradcheck(density.log_prob, x)


@pytest.mark.parametrize("name", SYNTHETIC)
def test_a_sampler_fills_cells_as_its_density_says(name: str):
    density = target(name)
    assert excess_chi_square(density.sample(100_000, seeded(3)), density) < 5.0


def test_the_cell_test_sees_a_blur_that_is_3_percent_off():
    assert excess_chi_square(Moons(noise=0.103).sample(100_000, seeded(3)), Moons(noise=0.1)) > 5.0


def test_the_cell_test_sees_a_mode_that_is_missing():
    seven = Mixture(means=GaussianRing().means[:7].tolist(), stds=[0.3535534] * 7, weights=[1.0] * 7)
    assert excess_chi_square(seven.sample(100_000, seeded(3)), GaussianRing()) > 5.0


@pytest.mark.parametrize("name", SYNTHETIC)
@pytest.mark.parametrize("noise_std", [0.02, 0.2])
def test_the_smoothed_density_is_the_convolution(name: str, noise_std: float):
    density = target(name)
    smoothed = density.smoothed(noise_std)
    x = smoothed.sample(8, seeded(4))
    ticks = torch.linspace(-8.0, 8.0, 161)
    eps = torch.cartesian_prod(ticks, ticks)
    log_kernel = -0.5 * eps.square().sum(1) - math.log(2.0 * math.pi) + 2.0 * math.log(0.1)
    around = density.log_prob((x[:, None] + noise_std * eps).flatten(0, 1)).view(8, -1)
    assert (smoothed.log_prob(x) - torch.logsumexp(around + log_kernel, dim=1)).abs().max() < 1e-5


@pytest.mark.parametrize("name", SYNTHETIC)
def test_the_smoothed_sampler_has_the_smoothed_density(name: str):
    smoothed = target(name).smoothed(0.15)
    points, log_area = grid(smoothed, 128)
    log_p = smoothed.log_prob(points)
    entropy = -float(((log_p + log_area).exp() * log_p).sum())
    sampled = -smoothed.log_prob(smoothed.sample(5_000, seeded(5)))
    assert abs(float(sampled.mean()) - entropy) < 5.0 * float(sampled.std()) / math.sqrt(len(sampled))


@pytest.mark.parametrize("name", [name for name in SYNTHETIC if name != "pinwheel"])
def test_noise_variances_add(name: str):
    twice, once = target(name).smoothed(0.12).smoothed(0.16), target(name).smoothed(0.2)
    x = once.sample(200, seeded(4))
    assert (twice.log_prob(x) - once.log_prob(x)).abs().max() < 1e-6


def test_a_smoothed_pinwheel_refuses_more_noise():
    with pytest.raises(ValueError, match=r"^noise_std must be 0"):
        Pinwheel().smoothed(0.1).smoothed(0.1)


@pytest.mark.parametrize("name", SYNTHETIC)
def test_no_noise_is_no_change(name: str):
    density = target(name)
    assert density.smoothed(0.0) is density


@pytest.mark.parametrize("name", SYNTHETIC)
def test_far_tails_are_finite_in_float32_and_so_are_scores(name: str):
    density = target(name).float()
    far = torch.tensor([[0.0, 0.0], [0.01, 0.0], [30.0, -20.0], [-50.0, 3.0]], dtype=torch.float32).requires_grad_()
    log_p = density.log_prob(far)
    (score,) = torch.autograd.grad(log_p.sum(), far)
    assert log_p.dtype == torch.float32
    assert log_p.isfinite().all()
    assert score.isfinite().all()


@pytest.mark.parametrize("name", SYNTHETIC)
def test_modes_are_labels_below_n_modes(name: str):
    density = target(name)
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
    density, n = target(name), 40_000
    share = torch.bincount(density.modes(density.sample(n, seeded(8))), minlength=density.n_modes) / n
    assert density.n_modes == n_modes
    # Overlapping neighbours exchange points evenly by symmetry; rings differ in curvature, which costs ~ (σ/r)².
    slack = 1e-3 if name in ("circles", "rings") else 0.0
    assert (share - 1 / n_modes).abs().max() < slack + 5.0 * math.sqrt(1 / n_modes / n)


# --- quadrature -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [Moons, TwoSpirals, SwissRoll])
@pytest.mark.parametrize("noise", [0.07, 0.2, 1.0])
def test_quadrature_agrees_with_a_rule_five_times_as_fine(cls: type, noise: float, monkeypatch: pytest.MonkeyPatch):
    shipped = cls(noise)
    monkeypatch.setattr(curve, "SPACING", 0.2)
    fine = cls(noise)
    x = torch.cat([9.0 * torch.rand(3000, 2, generator=seeded()) - 4.5, fine.sample(1000, seeded())])
    reference = fine.log_prob(x)
    error = (shipped.log_prob(x) - reference).abs()
    assert error[-1000:].max() < 1e-6
    assert error[reference > -50].max() < 1e-4
    assert error.max() < 0.05, "nats, of thousands"


def test_a_coarse_rule_fails_that(monkeypatch: pytest.MonkeyPatch):
    fine = TwoSpirals(0.1)
    monkeypatch.setattr(curve, "SPACING", 2.0)
    x = fine.sample(1000, seeded())
    assert (TwoSpirals(0.1).log_prob(x) - fine.log_prob(x)).abs().max() > 1e-4


@pytest.mark.parametrize("n", [1, 2, 3, 16, 101])
def test_gauss_legendre_nodes_are_numpys(n: int):
    t, w = np.polynomial.legendre.leggauss(n)
    ours_t, ours_w = gauss_legendre(-1.0, 1.0, n)
    torch.testing.assert_close(ours_t, torch.from_numpy(t), atol=1e-14, rtol=0.0)
    torch.testing.assert_close(ours_w, torch.from_numpy(w), atol=1e-13, rtol=1e-11)


def test_a_ring_by_bessel_function_is_the_integral_over_its_angle():
    ring = Rings([1.5], noise=0.2)
    angle = torch.arange(400) * (2 * math.pi / 400)
    centres = 1.5 * torch.stack([angle.cos(), angle.sin()], dim=1)
    x = 8.0 * torch.rand(500, 2, generator=seeded()) - 4.0
    kernel = -0.5 * (torch.cdist(x, centres) / 0.2) ** 2 - math.log(2 * math.pi * 0.04)
    torch.testing.assert_close(ring.log_prob(x), kernel.logsumexp(1) - math.log(400), atol=1e-9, rtol=1e-9)


def test_float32_is_right_to_1e_4_nats():
    density = TwoSpirals(0.1)
    x = density.sample(5000, seeded())
    reference = density.log_prob(x)
    assert (density.float().log_prob(x.float()) - reference).abs().max() < 1e-4


def test_a_gradient_over_many_chunks_is_the_gradient_of_each_row():
    density = Moons(0.1)
    n = KEPT_NUMBERS // len(density.nodes.centres) + 17
    x = density.sample(n, seeded()).requires_grad_()
    (score,) = torch.autograd.grad(density.log_prob(x).sum(), x)
    last = x[-5:].detach().requires_grad_()
    torch.testing.assert_close(score[-5:], torch.autograd.grad(density.log_prob(last).sum(), last)[0])


def test_a_checkerboard_with_hardly_any_blur_is_uniform_inside_its_squares():
    board = Checkerboard(noise=1e-3)
    inside = torch.tensor([[-1.5, -1.5], [0.3, 0.4], [1.5, -0.5]])
    torch.testing.assert_close(board.log_prob(inside), torch.full((3,), -math.log(8.0)))
    assert (board.log_prob(inside + torch.tensor([0.0, 1.0])) < -1000).all()


# --- known numbers ----------------------------------------------------------------------------------------------------


def test_moons_are_scikit_learns():
    theirs, _ = make_moons(100_000, noise=0.1, random_state=0)
    x = torch.from_numpy(theirs)
    assert excess_chi_square(x, Moons(0.1)) < 5.0
    assert excess_chi_square(x, Moons(0.103)) > 5.0
    narrow, labels = make_moons(1000, noise=0.05, random_state=0)
    assert (Moons(0.05).modes(torch.from_numpy(narrow)) == torch.from_numpy(labels)).all()


def test_the_swiss_roll_is_scikit_learns_seen_from_its_end():
    x = torch.from_numpy(make_swiss_roll(100_000, noise=1.0, random_state=0)[0][:, [0, 2]] / 5.0)
    assert excess_chi_square(x, SwissRoll(0.2)) < 5.0
    assert excess_chi_square(x, SwissRoll(0.212)) > 5.0


def test_eight_gaussians_have_entropy_2_8316():
    density = target("eight_gaussians")
    points, log_area = grid(density)
    log_p = density.log_prob(points)
    assert round(-float(((log_p + log_area).exp() * log_p).sum()), 4) == 2.8316


def test_a_gaussian_in_five_dimensions_is_its_formula():
    q = torch.linalg.qr(torch.randn(5, 5, generator=seeded())).Q
    s = q @ torch.diag(torch.linspace(0.5, 2.0, 5)) @ q.T
    s = 0.5 * (s + s.T)
    mean = [0.0, 1.0, -2.0, 0.5, 3.0]
    density = Gaussian(5, mean, s.tolist())
    normal = torch.distributions.MultivariateNormal(torch.tensor(mean), s)
    x = density.sample(100_000, seeded())
    torch.testing.assert_close(density.log_prob(x), normal.log_prob(x))
    assert (x.mean(0) - torch.tensor(mean)).abs().max() < 5.0 * math.sqrt(2.0 / 100_000)
    assert (torch.cov(x.T) - s).abs().max() < 5.0 * 2.0 * math.sqrt(2.0 / 100_000)
    wider = torch.distributions.MultivariateNormal(torch.tensor(mean), s + 0.09 * torch.eye(5))
    torch.testing.assert_close(density.smoothed(0.3).log_prob(x), wider.log_prob(x))


@pytest.mark.parametrize("dim", [1, 3, 40])
def test_a_mixture_in_any_dimension_has_its_components_moments_and_weights(dim: int):
    density = Mixture([[-4.0] * dim, [4.0] * dim], [0.5, 1.0], [1.0, 3.0])
    x = density.sample(50_000, seeded())
    heavy = density.modes(x) == 1
    assert abs(float(heavy.double().mean()) - 0.75) < 5.0 * math.sqrt(0.75 * 0.25 / 50_000)
    assert abs(float(x[heavy].std()) - 1.0) < 5.0 / math.sqrt(2 * 37_500)
    one = torch.distributions.Normal(4.0, 1.0).log_prob(x[heavy]).sum(1) + math.log(0.75)
    assert (density.log_prob(x[heavy]) - one).abs().median() < 1e-6


def test_mixtures_and_gaussians_integrate_to_1_in_one_dimension():
    x = torch.linspace(-12.0, 12.0, 2001)[:, None]
    for density in (Mixture([[-2.0], [2.0]], [0.5, 0.7], [0.3, 0.7]), Gaussian(1, [1.0], [[2.0]])):
        assert abs(float(density.log_prob(x).exp().sum()) * 24.0 / 2000 - 1.0) < 1e-9


@pytest.mark.parametrize(("dim", "std"), [(2, 1.0), (10, 3.0)])
def test_the_funnel_is_neals(dim: int, std: float):
    density = Funnel(dim, std)
    x = density.sample(50_000, seeded())
    nll = -density.log_prob(x)
    entropy = 0.5 * dim * (1.0 + math.log(2.0 * math.pi)) + math.log(std)
    assert abs(float(nll.mean()) - entropy) < 5.0 * float(nll.std()) / math.sqrt(len(x))
    white = torch.cat([x[:, :1] / std, x[:, 1:] * (-0.5 * x[:, :1]).exp()], dim=1)
    assert (torch.cov(white.T) - torch.eye(dim)).abs().max() < 5.0 * math.sqrt(2.0 / len(x))


def test_the_funnel_is_smoothed_in_ten_dimensions_too():
    """Importance sampling over v, given which the smoothed coordinates are Gaussian, agrees with the quadrature."""
    smoothed = Funnel(10, 1.0).smoothed(0.3)
    x = smoothed.sample(4, seeded())
    v = torch.randn(400_000, 1, generator=seeded(1))
    first = torch.distributions.Normal(v, 0.3).log_prob(x[:, 0])
    scale = (v.exp() + 0.09).sqrt()[:, None]
    rest = torch.distributions.Normal(0.0, scale).log_prob(x[:, 1:]).sum(2)
    p = (first + rest).exp()
    estimate, error = p.mean(0), p.std(0) / math.sqrt(len(v))
    assert ((smoothed.log_prob(x).exp() - estimate).abs() < 5.0 * error).all()


def test_a_pinwheel_without_rotation_is_a_star():
    star = Pinwheel(n_arms=1, radial_std=0.6, tangential_std=0.2, rate=0.0)
    x = star.sample(100, seeded())
    one = torch.distributions.MultivariateNormal(torch.tensor([2.0, 0.0]), torch.diag(torch.tensor([0.36, 0.04])))
    torch.testing.assert_close(star.log_prob(x), one.log_prob(x))


# --- what constructors refuse -----------------------------------------------------------------------------------------


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
def test_a_wrong_value_is_refused_by_name(make, message: str):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()
