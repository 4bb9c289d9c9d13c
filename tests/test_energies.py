"""Energies: closed forms, the Gaussian base, and what constructors refuse."""

import math

import pytest
import torch

from ebm_cli.energies import MLP, Quadratic, ResidualMLP


def test_quadratic_log_z_is_that_of_its_gaussian() -> None:
    energy = Quadratic((3,)).double()
    precision = torch.tensor([[2.0, 0.5, 0.0], [0.5, 1.5, 0.2], [0.0, 0.2, 1.0]]).double()
    mean = torch.tensor([1.0, -2.0, 0.5]).double()
    with torch.no_grad():
        energy.raw_precision.copy_(precision)
        energy.mean.copy_(mean)
    x = torch.randn(10, 3).double()
    log_z = energy.log_z()
    assert log_z is not None
    truth = torch.distributions.MultivariateNormal(mean, precision_matrix=precision)
    torch.testing.assert_close(-energy(x) - log_z, truth.log_prob(x))


def test_quadratic_samples_are_exact() -> None:
    """Mean and covariance within 5 standard errors; the wrong triangle of the Cholesky factor would miss by 40."""
    energy = Quadratic((2,)).double()
    precision = torch.tensor([[2.0, 1.2], [1.2, 1.0]]).double()
    with torch.no_grad():
        energy.raw_precision.copy_(precision)
        energy.mean.copy_(torch.tensor([1.0, -2.0]))
    x = energy.sample(100_000, torch.Generator().manual_seed(0))
    assert x is not None
    cov = torch.linalg.inv(precision)
    assert ((x.mean(0) - energy.mean.detach()).abs() < 5 * (cov.diagonal() / len(x)).sqrt()).all()
    outer = cov.diagonal().outer(cov.diagonal())
    assert ((torch.cov(x.T) - cov).abs() < 5 * ((outer + cov.square()) / len(x)).sqrt()).all()


def test_quadratic_has_no_log_z_while_its_precision_is_not_positive() -> None:
    energy = Quadratic((2,))
    with torch.no_grad():
        energy.raw_precision.copy_(torch.diag(torch.tensor([1.0, -0.1])))
    assert energy.log_z() is None
    assert energy.sample(3, torch.Generator()) is None


@pytest.mark.parametrize("cls", [MLP, ResidualMLP])
def test_the_base_makes_a_network_energy_grow(cls: type[MLP] | type[ResidualMLP]) -> None:
    torch.manual_seed(0)
    energy = cls((2,), width=32)
    directions = torch.nn.functional.normalize(torch.randn(500, 2), dim=1)
    # The network is asymptotically linear, the base quadratic: 0.1 r² wins everywhere.
    assert (energy(1e4 * directions) > 0.09 * 1e8).all()
    bare = cls((2,), width=32, base=0.0)
    assert (bare(1e4 * directions).abs() < 0.01 * 1e8).all()


@pytest.mark.parametrize("shape", [(1,), (4,), (1, 8, 8)], ids=str)
@pytest.mark.parametrize("cls", [MLP, ResidualMLP, Quadratic])
def test_one_energy_a_point(cls: type[MLP], shape: tuple[int, ...]) -> None:
    energy = cls(shape)
    assert energy(torch.randn(6, *shape)).shape == (6,)
    assert energy.shape == shape


@pytest.mark.parametrize(
    ("cls", "name", "value"),
    [
        (MLP, "width", 0),
        (MLP, "depth", 0),
        (MLP, "base", -0.1),
        (MLP, "input_scale", 0.0),
        (ResidualMLP, "input_scale", -1.0),
        (ResidualMLP, "width", 0),
        (ResidualMLP, "depth", 0),
        (Quadratic, "precision", 0.0),
    ],
)
def test_constructors_name_what_they_refuse(cls: type[MLP], name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be .*got {value}"):
        cls((2,), **{name: value})  # type: ignore[arg-type]


def test_quadratic_starts_as_the_standard_normal() -> None:
    energy = Quadratic((2,))
    log_z = energy.log_z()
    assert log_z is not None
    assert float(log_z.detach()) == pytest.approx(math.log(2 * math.pi))


@pytest.mark.parametrize("size", [1, 2, 100])
def test_the_first_layer_varies_on_the_scale_of_the_data_in_any_dimension(size: int) -> None:
    torch.manual_seed(0)
    first = MLP((size,), width=20_000, depth=1, input_scale=3.0).network[0]
    assert isinstance(first, torch.nn.Linear)
    x = torch.randn(1, size)
    # W x ~ N(0, 9‖x‖²/D): the sample variance of 20,000 units has a standard error of 1 %.
    spread = (x @ first.weight.T).var() / (9 * x.square().mean())
    assert float(spread.detach()) == pytest.approx(1, abs=0.05)
    assert float(first.bias.detach().abs().max()) <= 3
