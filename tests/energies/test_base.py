"""Energies of a network: shapes, the Gaussian base, and numbers out of range."""

import pytest
import torch

from ebm_cli.energies import MLP, Quadratic, ResidualMLP


@pytest.mark.parametrize("shape", [(1,), (4,), (1, 8, 8)], ids=str)
@pytest.mark.parametrize("cls", [MLP, ResidualMLP, Quadratic])
def test_energy_gives_one_number_a_point(cls: type[MLP], shape: tuple[int, ...]) -> None:
    energy = cls(shape)
    assert energy(torch.randn(6, *shape)).shape == (6,)
    assert energy.shape == shape


@pytest.mark.parametrize("cls", [MLP, ResidualMLP])
def test_base_makes_a_network_energy_grow(cls: type[MLP] | type[ResidualMLP]) -> None:
    torch.manual_seed(0)
    energy = cls((2,), width=32)
    directions = torch.nn.functional.normalize(torch.randn(500, 2), dim=1)
    # The network is asymptotically linear, the base quadratic: 0.1 r² is larger far from the origin.
    assert (energy(1e4 * directions) > 0.09 * 1e8).all()
    bare = cls((2,), width=32, base=0.0)
    assert (bare(1e4 * directions).abs() < 0.01 * 1e8).all()


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
def test_energy_refuses_numbers_out_of_range(cls: type[MLP], name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be .*got {value}"):
        cls((2,), **{name: value})  # type: ignore[arg-type]
