"""Energies of images: shapes, the Gaussian base, and the spectral norm of their convolutions."""

import pytest
import torch

from ebm_cli.derivatives import value_and_grad
from ebm_cli.energies import Conv, ResNet

IMAGES = [Conv, ResNet]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28), (2, 5, 1)], ids=str)
@pytest.mark.parametrize("cls", IMAGES)
def test_image_energy_gives_one_number_a_point(cls: type[Conv], shape: tuple[int, ...]) -> None:
    energy = cls(shape)
    assert energy(torch.randn(3, *shape)).shape == (3,)
    assert energy.shape == shape


@pytest.mark.parametrize("shape", [(2,), (64,), (8, 8)], ids=str)
@pytest.mark.parametrize("cls", IMAGES)
def test_image_energy_refuses_points_that_are_not_images(cls: type[Conv], shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"need images.*\{list(shape)}.*energy=mlp"):
        cls(shape)


@pytest.mark.parametrize(("name", "value"), [("width", 0), ("depth", 0), ("base", -0.1), ("input_scale", 0.0)])
@pytest.mark.parametrize("cls", IMAGES)
def test_image_energy_refuses_numbers_out_of_range(cls: type[Conv], name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be .*got {value}"):
        cls((1, 8, 8), **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("cls", IMAGES)
def test_base_makes_an_image_energy_grow(cls: type[Conv]) -> None:
    torch.manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(100, 64), dim=1).view(100, 1, 8, 8)
    assert (cls((1, 8, 8), width=8)(1e4 * directions) > 0.09 * 1e8).all()
    assert (cls((1, 8, 8), width=8, base=0.0)(1e4 * directions).abs() < 0.01 * 1e8).all()


@pytest.mark.parametrize("cls", IMAGES)
def test_image_energy_is_independent_of_the_batch(cls: type[Conv]) -> None:
    """It is so in training mode, too."""
    torch.manual_seed(0)
    energy = cls((1, 8, 8), width=8).double().train()
    x = torch.randn(6, 1, 8, 8).double()
    torch.testing.assert_close(energy(x)[:2], energy(x[:2]))


@pytest.mark.parametrize("cls", IMAGES)
def test_spectral_norm_is_one_between_first_and_last_layer(cls: type[Conv]) -> None:
    def largest(conv: torch.nn.Conv2d) -> float:
        return float(torch.linalg.matrix_norm(conv.weight.detach().flatten(1), 2))

    torch.manual_seed(0)
    free, normed = (cls((1, 8, 8), width=16, depth=2, spectral_norm=bound) for bound in (False, True))
    for energy in (free, normed):
        with torch.no_grad():
            for p in energy.parameters():
                p.mul_(10)
        for _ in range(200):  # the power method converges while the weights are constant
            energy(torch.zeros(1, 1, 8, 8))
    norms = [[largest(m) for m in e.modules() if isinstance(m, torch.nn.Conv2d)][1:] for e in (free, normed)]
    assert norms[1] == pytest.approx([1.0] * len(norms[1]), abs=1e-3)
    assert min(norms[0]) > 5


@pytest.mark.parametrize("cls", IMAGES)
def test_spectral_norm_changes_in_training_mode_only(cls: type[Conv]) -> None:
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
