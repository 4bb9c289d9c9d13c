"""Energies: closed forms, the Gaussian base, and what constructors refuse."""

import math

import pytest
import torch

from ebm_cli.derivatives import value_and_grad
from ebm_cli.energies import MLP, Conv, Quadratic, ResidualMLP, ResNet


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


IMAGES = [Conv, ResNet]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28), (2, 5, 1)], ids=str)
@pytest.mark.parametrize("cls", IMAGES)
def test_one_energy_an_image(cls: type[Conv], shape: tuple[int, ...]) -> None:
    energy = cls(shape)
    assert energy(torch.randn(3, *shape)).shape == (3,)
    assert energy.shape == shape


@pytest.mark.parametrize("shape", [(2,), (64,), (8, 8)], ids=str)
@pytest.mark.parametrize("cls", IMAGES)
def test_convolutions_refuse_points_that_are_no_images(cls: type[Conv], shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"need images.*\{list(shape)}.*energy=mlp"):
        cls(shape)


@pytest.mark.parametrize(("name", "value"), [("width", 0), ("depth", 0), ("base", -0.1), ("input_scale", 0.0)])
@pytest.mark.parametrize("cls", IMAGES)
def test_image_energies_name_what_they_refuse(cls: type[Conv], name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be .*got {value}"):
        cls((1, 8, 8), **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("cls", IMAGES)
def test_the_base_makes_an_image_energy_grow(cls: type[Conv]) -> None:
    torch.manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(100, 64), dim=1).view(100, 1, 8, 8)
    assert (cls((1, 8, 8), width=8)(1e4 * directions) > 0.09 * 1e8).all()
    assert (cls((1, 8, 8), width=8, base=0.0)(1e4 * directions).abs() < 0.01 * 1e8).all()


@pytest.mark.parametrize("cls", IMAGES)
def test_an_image_is_judged_alone(cls: type[Conv]) -> None:
    """The energy of a point does not depend on the batch that it is in, in training either."""
    torch.manual_seed(0)
    energy = cls((1, 8, 8), width=8).double().train()
    x = torch.randn(6, 1, 8, 8).double()
    torch.testing.assert_close(energy(x)[:2], energy(x[:2]))


@pytest.mark.parametrize("cls", IMAGES)
def test_spectral_norm_bounds_the_convolutions_between_the_ends(cls: type[Conv]) -> None:
    def largest(conv: torch.nn.Conv2d) -> float:
        return float(torch.linalg.matrix_norm(conv.weight.detach().flatten(1), 2))

    torch.manual_seed(0)
    free, bounded = (cls((1, 8, 8), width=16, depth=2, spectral_norm=bound) for bound in (False, True))
    for energy in (free, bounded):
        with torch.no_grad():
            for p in energy.parameters():
                p.mul_(10)
        for _ in range(200):  # the power method converges while the weights stand still
            energy(torch.zeros(1, 1, 8, 8))
    norms = [[largest(m) for m in e.modules() if isinstance(m, torch.nn.Conv2d)][1:] for e in (free, bounded)]
    assert norms[1] == pytest.approx([1.0] * len(norms[1]), abs=1e-3)
    assert min(norms[0]) > 5


@pytest.mark.parametrize("cls", IMAGES)
def test_the_power_method_moves_in_training_only_and_comes_back_with_the_state(cls: type[Conv]) -> None:
    torch.manual_seed(0)
    energy, other = (cls((1, 8, 8), width=4, spectral_norm=True) for _ in range(2))
    x = torch.randn(3, 1, 8, 8)

    def vectors() -> list[torch.Tensor]:
        return [b.clone() for b in energy.buffers()]

    before = vectors()
    energy.eval()
    value, _ = value_and_grad(energy, x)
    torch.testing.assert_close(energy(x), value)
    assert all(map(torch.equal, before, vectors()))
    energy.train()(x)
    assert not any(map(torch.equal, before, vectors()))
    other.load_state_dict(energy.state_dict())
    assert torch.equal(energy(x), other(x))
    assert torch.equal(energy(x), other(x))


@pytest.mark.parametrize("cls", IMAGES)
def test_the_first_convolution_varies_on_the_scale_of_the_data(cls: type[Conv]) -> None:
    torch.manual_seed(0)
    first = cls((3, 8, 8), width=2_000, depth=1, input_scale=2.0).network[1]
    assert isinstance(first, torch.nn.Conv2d)
    x = torch.randn(3, 3, 3)
    # One patch, 2,000 features: N(0, 4‖x‖²/27), the sample variance within 4 standard errors.
    features = (first.weight.detach() * x).sum((1, 2, 3))
    assert float(features.var() / (4 * x.square().mean())) == pytest.approx(1, abs=4 * math.sqrt(2 / 2_000))
