"""An energy in other units."""

import torch

from ebm_cli.energies import Quadratic, Rescaled
from tests.support import seeded


def test_rescaled_gaussian_is_the_density_in_other_units() -> None:
    scale, shift = torch.tensor([2.0, 0.5]).double(), torch.tensor([1.0, -1.0]).double()
    inner = Quadratic((2,), precision=2.0).double()
    with torch.no_grad():
        inner.mean.fill_(0.3)
    energy = Rescaled(inner, scale, shift)
    u = torch.randn(20, 2).double()
    log_z = energy.log_z()
    assert log_z is not None
    truth = torch.distributions.Normal((0.3 - shift) / scale, 2.0**-0.5 / scale).log_prob(u).sum(1)
    torch.testing.assert_close(-energy(u) - log_z, truth)
    x = energy.sample(100_000, seeded())
    assert x is not None
    assert ((x.mean(0) - (0.3 - shift) / scale).abs() < 5 * x.std(0) / len(x) ** 0.5).all()
