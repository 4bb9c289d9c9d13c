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


def test_quadratic_has_no_log_z_while_its_precision_is_not_positive() -> None:
    energy = Quadratic((2,))
    with torch.no_grad():
        energy.raw_precision.copy_(torch.diag(torch.tensor([1.0, -0.1])))
    assert energy.log_z() is None


@pytest.mark.parametrize("cls", [MLP, ResidualMLP])
def test_the_base_makes_a_network_energy_grow(cls: type[MLP] | type[ResidualMLP]) -> None:
    torch.manual_seed(0)
    energy = cls((2,), width=32)
    directions = torch.nn.functional.normalize(torch.randn(500, 2), dim=1)
    far, further = energy(100 * directions), energy(1000 * directions)
    # The network is asymptotically linear, the base quadratic: 0.1 r² wins everywhere.
    assert (far > 0.05 * 100**2).all()
    assert (further > 0.05 * 1000**2).all()
    bare = cls((2,), width=32, base=0.0)
    assert (bare(1000 * directions) < 0.05 * 1000**2).all()


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
