"""A tilted density starts as its reference, which its state contains, and bends it by a bounded factor."""

import pytest
import torch
from torch import nn

from ebm_cli.densities import Gaussian
from ebm_cli.densities.bent import Bent
from ebm_cli.densities.elliptical import EllipticalMixture
from ebm_cli.densities.flow_fit import as_student
from ebm_cli.densities.moments import Moments
from ebm_cli.densities.transformed import Transformed
from ebm_cli.derivatives import supports
from ebm_cli.energies import Tilted
from ebm_cli.energies.local_features import local_features
from ebm_cli.energies.tail_fit import steps_of
from ebm_cli.energies.tilted import Family, Marginals
from ebm_cli.methods.whitening import Whitening
from tests.densities.support import perturb
from tests.support import assert_same_derivatives, autograd_only, normal, seeded


def rows(n: int = 500) -> torch.Tensor:
    return (
        torch.randn(n, 3, generator=seeded()) @ torch.tensor([[1.0, 0.8, 0.0], [0.0, 0.5, 0.3], [0.0, 0.0, 0.2]]) + 1.0
    )


def bent(energy: Tilted) -> Tilted:
    """The same energy with a correction that is not 0."""
    for parameter in energy.tilt.parameters():
        nn.init.normal_(parameter, generator=seeded(5))
    return energy


@pytest.mark.parametrize("family", ["auto", "gaussian", "mixture", pytest.param("student", marks=pytest.mark.slow)])
def test_tilted_starts_as_its_reference(family: Family) -> None:
    x = rows()
    energy = Tilted((3,), x, reference=family)
    assert energy.reference is not None
    torch.testing.assert_close(energy(x), -energy.reference.log_prob(x))
    assert energy.reference.log_prob(x).mean() > Gaussian(x).log_prob(x).mean() - 0.05


def test_tilted_trains_its_correction_alone() -> None:
    energy = Tilted((3,), rows())
    assert {name.split(".")[0] for name, _ in energy.named_parameters()} == {"tilt"}


def test_correction_is_bounded() -> None:
    """The ratio exp(−f)/q levels off, so that its mean under q is finite; without a bound it does not."""
    x, far = rows(), torch.tensor([[1e3], [1e6]]) * torch.tensor([[1.0, -1.0, 0.5]])
    far = far.double()
    energy = bent(Tilted((3,), x)).double()
    free = bent(Tilted((3,), x, bound=None))
    near, further = (energy(far) + energy.density.log_prob(far)).tolist()
    assert near == pytest.approx(further, abs=0.01)
    assert free.reference is None
    near, further = (free.double().tilt(far)).tolist()
    assert abs(further - near) > 1e4


@pytest.mark.parametrize("family", ["gaussian", "mixture", pytest.param("student", marks=pytest.mark.slow)])
def test_tilted_loads_everything_from_its_state(family: Family) -> None:
    x = rows()
    energy, loaded = bent(Tilted((3,), x, reference=family)), Tilted((3,), reference=family)
    loaded.load_state_dict(energy.state_dict())
    assert torch.equal(energy(x), loaded(x))


def test_tilted_loads_states_whose_gaussian_was_its_own() -> None:
    x = rows()
    energy = bent(Tilted((3,), x, reference="gaussian", marginals="none", bound=None))
    fit = energy.density.fitted
    assert isinstance(fit, EllipticalMixture)
    old = {f"tilt.{name}": value for name, value in energy.tilt.state_dict().items()}
    old |= {"mean": fit.means[0], "whiten": fit.whiten[0], "log_norm": fit.log_norm[0]}
    loaded = Tilted((3,), reference="gaussian", marginals="none", bound=None)
    loaded.load_state_dict(old)
    torch.testing.assert_close(loaded(x), energy(x))
    x0 = loaded.density.sample(20_000, seeded())
    torch.testing.assert_close(x0.T.cov(), x.T.cov(), atol=0.03, rtol=0.03)


@pytest.mark.slow
def test_tilted_is_finite_for_a_constant_column() -> None:
    x = rows()
    x[:, 1] = 0.0
    assert Tilted((3,), x)(x).isfinite().all()


@pytest.mark.parametrize("whitened", [False, True])
@pytest.mark.parametrize("marginals", ["none", "sinh_arcsinh"])
@pytest.mark.parametrize("family", ["gaussian", "mixture", "student"])
def test_tilted_derivative_rules_equal_autograd(family: Family, marginals: Marginals, whitened: bool) -> None:
    """Also in the whitened coordinates of score matching."""
    x = rows(60).double()
    energy = bent(Tilted((3,), x, reference=family, marginals=marginals, width=8).double())
    seen = Whitening((3,), x).double().transform(energy, x)[0] if whitened else energy
    assert supports(seen)
    assert_same_derivatives(seen, autograd_only(seen), x[:7], torch.randn(3, 7, 3, generator=seeded()).double())


@pytest.mark.parametrize("marginals", ["none", "sinh_arcsinh"])
def test_rules_with_tails_equal_autograd(marginals: Marginals) -> None:
    x = rows(1000).double()
    energy = bent(Tilted((3,), x, reference="gaussian", marginals=marginals, width=8).double())
    before = energy(x[:7])
    steps = steps_of(x)
    energy.tails.take(steps._replace(heights=normal(*steps.heights.shape)))
    torch.testing.assert_close(energy(x[:7]), before + energy.tails(x[:7]))
    far = 3 * x[:7]
    assert_same_derivatives(energy, autograd_only(energy), far, torch.randn(3, 7, 3, generator=seeded()).double())


@pytest.mark.parametrize("marginals", ["none", "sinh_arcsinh"])
def test_rules_with_scaled_components_equal_autograd(marginals: Marginals) -> None:
    x = torch.cat((rows(300), rows(300) + 4)).double()
    energy = bent(Tilted((3,), x, reference="mixture", marginals=marginals, width=8).double())
    before = energy(x[:7])
    share = energy.density.locate(x[:7]).share
    assert share.shape[1] > 1
    energy.scales.take(1 + torch.arange(share.shape[1]).double())
    torch.testing.assert_close(energy(x[:7]), before - (share @ energy.scales.scales).log())
    # Between the components, where their shares change.
    between = x[:7] + 2
    assert_same_derivatives(energy, autograd_only(energy), between, torch.randn(3, 7, 3, generator=seeded()).double())


def test_rules_of_an_energy_that_bends_a_flow_equal_autograd() -> None:
    """The place within components is that of the simple density, whatever the flow does."""
    x = rows(60).double()
    energy = bent(Tilted((3,), x, reference="student", marginals="sinh_arcsinh", width=8).double())
    assert isinstance(energy.density.fitted, Transformed)
    features = local_features(energy.density.locate(x))
    mixture = energy.density.mixture
    flow = Bent(mixture, as_student(mixture), Moments.from_rows(x), n_couplings=2, width=4).double()
    energy.density.fitted.density = perturb(flow).freeze()
    assert torch.equal(local_features(energy.density.locate(x)), features)
    assert_same_derivatives(energy, autograd_only(energy), x[:7], torch.randn(3, 7, 3, generator=seeded()).double())


def test_scale_of_the_inputs_falls_with_the_columns() -> None:
    """None is 2/√D: so large is the standard deviation of what the first layer gives to its activation."""
    for size in (1, 4, 16):
        energy = Tilted((size,), width=1000)
        first = next(layer for layer in energy.tilt.modules() if isinstance(layer, nn.Linear))
        spread = float(first.weight.detach().square().sum(1).mean().sqrt())
        assert spread == pytest.approx(2 / size**0.5, rel=0.05)
