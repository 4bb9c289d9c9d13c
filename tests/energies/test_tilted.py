"""The tilted Gaussian starts as the Gaussian of the data, which its state contains."""

import pytest
import torch
from torch import nn

from ebm_cli.densities import Gaussian
from ebm_cli.derivatives import supports
from ebm_cli.energies import Tilted
from ebm_cli.methods.whitening import Whitening
from tests.support import assert_same_derivatives, autograd_only, seeded


def rows(n: int = 500) -> torch.Tensor:
    return (
        torch.randn(n, 3, generator=seeded()) @ torch.tensor([[1.0, 0.8, 0.0], [0.0, 0.5, 0.3], [0.0, 0.0, 0.2]]) + 1.0
    )


def test_tilted_starts_as_the_gaussian_of_the_data() -> None:
    x = rows()
    energy, density = Tilted((3,), x), Gaussian(x)
    torch.testing.assert_close(energy(x), -density.log_prob(x), rtol=1e-4, atol=1e-4)
    assert (Tilted((3,))(x) + density.log_prob(x)).abs().max() > 1


def test_tilted_adds_its_network_and_trains_it_alone() -> None:
    x = rows()
    energy = Tilted((3,), x)
    with torch.no_grad():
        energy.tilt.network[-1].bias.fill_(2.5)  # type: ignore[index,union-attr]
    torch.testing.assert_close(energy(x), 2.5 - Gaussian(x).log_prob(x), rtol=1e-4, atol=1e-4)
    assert {name.split(".")[0] for name, _ in energy.named_parameters()} == {"tilt"}


def test_tilted_loads_the_gaussian_from_its_state() -> None:
    x = rows()
    energy, loaded = Tilted((3,), x), Tilted((3,))
    loaded.load_state_dict(energy.state_dict())
    assert torch.equal(energy(x), loaded(x))


def test_tilted_is_finite_for_a_constant_column() -> None:
    x = rows()
    x[:, 1] = 0.0
    assert Tilted((3,), x)(x).isfinite().all()


@pytest.mark.parametrize("whitened", [False, True])
def test_tilted_derivative_rules_equal_autograd(whitened: bool) -> None:
    """Also in the whitened coordinates of score matching."""
    x = rows(7).double()
    energy = Tilted((3,), x, width=8).double()
    for parameter in energy.parameters():
        nn.init.normal_(parameter)
    seen = Whitening((3,), x).double().transform(energy, x)[0] if whitened else energy
    assert supports(seen)
    assert_same_derivatives(seen, autograd_only(seen), x, torch.randn(3, 7, 3).double())
