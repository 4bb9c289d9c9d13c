"""Every density integrates to 1 and is what it samples from."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor

from ebm_cli.densities import Coloured, CouplingFlow, Density, FittedMixture, Gaussian, ReferenceFlow, Uniform, ZukoFlow
from tests.densities.support import bent_data, perturb, small_flow
from tests.support import seeded


def zuko(kind: str) -> Density:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ZukoFlow((2,), kind, n_transforms=3, width=32).double()  # type: ignore[arg-type]


def reference_flow() -> Density:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ReferenceFlow(FittedMixture(bent_data(), n_components=3), bent_data(), 4, 16).double()


DENSITIES: dict[str, Callable[[], Density]] = {
    "gaussian": lambda: Gaussian(bent_data()),
    "uniform": lambda: Uniform(bent_data()),
    "mixture": lambda: FittedMixture(bent_data(), n_components=3),
    "flow": lambda: perturb(small_flow()),
    "coloured": lambda: Coloured(perturb(small_flow()), bent_data()),
    "reference_flow": lambda: perturb(reference_flow()),
    "zuko_realnvp": lambda: perturb(zuko("realnvp")),
    "zuko_nsf": lambda: perturb(zuko("nsf")),
    "zuko_maf": lambda: perturb(zuko("maf")),
}


SLOW = {"zuko_nsf", "zuko_maf"}
"""Their grids take seconds each; `zuko_realnvp` takes the same way."""


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in DENSITIES], ids=str
)
def density(request: pytest.FixtureRequest) -> Density:
    return made(request.param)


@cache
def made(name: str) -> Density:
    """The density of this name, which no test changes."""
    return DENSITIES[name]()


@cache
def on_a_grid(density: Density) -> tuple[Tensor, Tensor]:
    """Log-density of the cells of a grid, [801²], and their masses."""
    axis = torch.linspace(-12, 12, 801, dtype=torch.float64)
    with torch.no_grad():
        log_q = density.log_prob(torch.cartesian_prod(axis, axis))
    return log_q, log_q.exp() * (axis[1] - axis[0]) ** 2


def test_density_integrates_to_1(density: Density) -> None:
    _, mass = on_a_grid(density)
    # The uniform density's edges do not fall on the grid.
    assert float(mass.sum()) == pytest.approx(1, abs=2e-2 if isinstance(density, Uniform) else 2e-4)


def test_samples_have_the_entropy_of_the_density(density: Density) -> None:
    """E[−log q] over samples is the entropy of the grid, within 5 standard errors."""
    log_q, mass = on_a_grid(density)
    entropy = -float(torch.where(mass > 0, mass * log_q, 0).sum() / mass.sum())
    with torch.no_grad():
        x = density.sample(20_000, seeded(2))
        surprise = -density.log_prob(x)
    error = 5 * float(surprise.std()) / len(x) ** 0.5
    assert float(surprise.mean()) == pytest.approx(
        entropy, abs=error + (5e-2 if isinstance(density, Uniform) else 1e-4)
    )


def test_sample_with_log_prob_is_sample_and_log_prob(density: Density) -> None:
    with torch.no_grad():
        x, log_q = density.sample_with_log_prob(100, seeded(3))
        again = density.sample(100, seeded(3))
    torch.testing.assert_close(x, again)
    torch.testing.assert_close(log_q, density.log_prob(x), rtol=1e-8, atol=1e-8)


def test_sample_never_draws_from_the_global_generator(density: Density) -> None:
    before = torch.get_rng_state()
    density.sample(10, seeded())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Gaussian(bent_data(), ridge=0.0), "ridge"),
        (lambda: Coloured(CouplingFlow((2,)), bent_data(), ridge=0.0), "ridge"),
        (lambda: Gaussian(bent_data(), widen=-1.0), "widen"),
        (lambda: Uniform(bent_data(), margin=-0.1), "margin"),
        (lambda: FittedMixture(bent_data(), n_components=0), "n_components"),
        (lambda: FittedMixture(bent_data(), ridge=0.0), "ridge"),
        (lambda: CouplingFlow((2,), n_couplings=1), "n_couplings"),
        (lambda: ReferenceFlow(Gaussian(bent_data()), bent_data(), n_couplings=1), "n_couplings"),
        (lambda: ReferenceFlow(Gaussian(bent_data()), bent_data(), kept=1.0), "kept"),
        (lambda: ReferenceFlow(Gaussian(bent_data()), bent_data(), kept=-0.1), "kept"),
        (lambda: ReferenceFlow(Gaussian(bent_data()), bent_data(), width=0), "width"),
        (lambda: CouplingFlow((2,), width=0), "width"),
        (lambda: ZukoFlow((1,)), "shape"),
        (lambda: ZukoFlow((2,), n_transforms=0), "n_transforms"),
        (lambda: ZukoFlow((2,), width=0), "width"),
    ],
)
def test_constructor_names_the_argument_that_it_refuses(make: Callable[[], Density], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must"):
        make()
