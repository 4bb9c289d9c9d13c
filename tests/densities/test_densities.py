"""Noise densities: normalised, sampled as they say, fitted to the data."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ebm_cli.densities import Coloured, CouplingFlow, Density, FittedMixture, Gaussian, Uniform, ZukoFlow
from ebm_cli.methods.fit_density import fit_density


def bent_data(n: int = 4000) -> Tensor:
    g = torch.Generator().manual_seed(0)
    z = torch.randn(n, 2, generator=g, dtype=torch.float64)
    return torch.stack((z[:, 0], 0.5 * z[:, 1] + 0.4 * z[:, 0] ** 2 - 0.4), 1)


def shaken(flow: Density) -> Density:
    """A flow that is not the identity."""
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=g, dtype=p.dtype))
    return flow


def _zuko(kind: str) -> Density:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ZukoFlow((2,), kind, n_transforms=3, width=32).double()  # type: ignore[arg-type]


DENSITIES: dict[str, Callable[[], Density]] = {
    "gaussian": lambda: Gaussian(bent_data()),
    "uniform": lambda: Uniform(bent_data()),
    "mixture": lambda: FittedMixture(bent_data(), n_components=3),
    "flow": lambda: shaken(CouplingFlow((2,), n_couplings=4, width=16).double()),
    "coloured": lambda: Coloured(shaken(CouplingFlow((2,), n_couplings=4, width=16).double()), bent_data()),
    "zuko_realnvp": lambda: shaken(_zuko("realnvp")),
    "zuko_nsf": lambda: shaken(_zuko("nsf")),
    "zuko_maf": lambda: shaken(_zuko("maf")),
}


@pytest.fixture(params=DENSITIES, ids=str)
def density(request: pytest.FixtureRequest) -> Density:
    return DENSITIES[request.param]()


def test_integrates_to_one(density: Density) -> None:
    axis = torch.linspace(-12, 12, 801, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        mass = float(density.log_prob(points).exp().sum() * (axis[1] - axis[0]) ** 2)
    # The uniform density's edges do not fall on the grid.
    assert mass == pytest.approx(1, abs=2e-2 if isinstance(density, Uniform) else 2e-4)


def test_samples_follow_the_density(density: Density) -> None:
    """E[−log q] over samples is the entropy of the grid, within 5 standard errors."""
    axis = torch.linspace(-12, 12, 801, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        log_q = density.log_prob(points)
        mass = log_q.exp() * (axis[1] - axis[0]) ** 2
        entropy = -float(torch.where(mass > 0, mass * log_q, 0).sum() / mass.sum())
        x = density.sample(20_000, torch.Generator().manual_seed(2))
        surprise = -density.log_prob(x)
    error = 5 * float(surprise.std()) / len(x) ** 0.5
    assert float(surprise.mean()) == pytest.approx(
        entropy, abs=error + (5e-2 if isinstance(density, Uniform) else 1e-4)
    )


def test_sample_with_log_prob_is_one_pass_of_the_same(density: Density) -> None:
    with torch.no_grad():
        x, log_q = density.sample_with_log_prob(100, torch.Generator().manual_seed(3))
        again = density.sample(100, torch.Generator().manual_seed(3))
    torch.testing.assert_close(x, again)
    torch.testing.assert_close(log_q, density.log_prob(x), rtol=1e-8, atol=1e-8)


def test_every_draw_is_the_generators(density: Density) -> None:
    before = torch.get_rng_state()
    density.sample(10, torch.Generator().manual_seed(0))
    assert torch.equal(before, torch.get_rng_state())


def test_gaussian_has_the_datas_moments_and_a_constant_column_does_not_break_it() -> None:
    data = torch.cat((bent_data(), torch.ones(4000, 1, dtype=torch.float64)), 1)
    noise = Gaussian(data, ridge=1e-4)
    covariance = noise.factor @ noise.factor.T
    torch.testing.assert_close(noise.mean, data.mean(0))
    torch.testing.assert_close(covariance, torch.cov(data.T, correction=0) + 1e-4 * torch.eye(3, dtype=torch.float64))
    assert torch.isfinite(noise.log_prob(data)).all()


def test_uniform_is_minus_infinity_outside_its_box() -> None:
    noise = Uniform(bent_data(), margin=0.0)
    assert torch.isneginf(noise.log_prob(torch.full((1, 2), 50.0, dtype=torch.float64))).all()


def test_flow_fitted_beforehand_beats_the_gaussian_on_bent_data() -> None:
    data = bent_data()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        flow = CouplingFlow((2,), n_couplings=4, width=16).double()
    fit_density(flow, data, 300, torch.Generator().manual_seed(0))
    with torch.no_grad():
        gain = flow.log_prob(data).mean() - Gaussian(data).log_prob(data).mean()
    assert gain > 0.1


def test_a_coloured_flow_begins_as_the_fitted_gaussian() -> None:
    data = bent_data()
    coloured, gaussian = Coloured(CouplingFlow((2,)).double(), data), Gaussian(data)
    torch.testing.assert_close(coloured.log_prob(data), gaussian.log_prob(data))
    drawn = [density.sample(5, torch.Generator().manual_seed(0)) for density in (coloured, gaussian)]
    torch.testing.assert_close(*drawn)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Gaussian(bent_data(), ridge=0.0), "ridge"),
        (lambda: Coloured(CouplingFlow((2,)), bent_data(), ridge=0.0), "ridge"),
        (lambda: Gaussian(bent_data(), widen=-1.0), "widen"),
        (lambda: Uniform(bent_data(), margin=-0.1), "margin"),
        (lambda: FittedMixture(bent_data(), n_components=0), "n_components"),
        (lambda: FittedMixture(bent_data(), ridge=0.0), "ridge"),
        (lambda: CouplingFlow((1,)), "shape"),
        (lambda: CouplingFlow((2,), n_couplings=1), "n_couplings"),
        (lambda: CouplingFlow((2,), width=0), "width"),
        (lambda: ZukoFlow((1,)), "shape"),
        (lambda: ZukoFlow((2,), n_transforms=0), "n_transforms"),
        (lambda: ZukoFlow((2,), width=0), "width"),
    ],
)
def test_constructors_name_what_they_refuse(make: Callable[[], Density], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must"):
        make()
