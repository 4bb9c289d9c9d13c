"""Denoising score matching learns the blurred density."""

import torch

from ebm_cli.methods import DSM
from tests.methods.toys import gaussian_energy
from tests.support import seeded


def test_dsm_is_minimal_at_the_blurred_gaussian() -> None:
    """On N(0, v) the minimum is the precision 1/(v + σ²); at the sharp 1/v the gradient does not vanish."""
    v, sigma, n = 0.5, 0.6, 400_000
    x = v**0.5 * torch.randn(n, 1, generator=seeded(), dtype=torch.float64)

    def slope(precision: float) -> float:
        energy = gaussian_energy(torch.full((1, 1), precision).double(), torch.zeros(1).double())
        loss = DSM(sigma=sigma).loss(energy, x, seeded(1)).loss
        return float(torch.autograd.grad(loss, energy.raw_precision)[0])

    # σ(x̃ P − ε/σ) x̃ σ has standard deviation below 1 here: five standard errors of the mean.
    tolerance = 5 / n**0.5
    assert abs(slope(1 / (v + sigma**2))) < tolerance
    assert abs(slope(1 / v)) > 10 * tolerance


def test_dsm_loss_has_its_closed_form_at_the_origin() -> None:
    """For f = ½‖x‖² and rows at 0, σ∇f(σε) − ε = (σ² − 1) ε: the loss is ½ (1 − σ²)² mean‖ε‖²."""
    x, sigma = torch.zeros(50, 3, dtype=torch.float64), 0.6
    energy = gaussian_energy(torch.eye(3).double(), torch.zeros(3).double())
    noise = torch.randn(50, 3, generator=seeded(1), dtype=torch.float64)
    loss = float(DSM(sigma=sigma).loss(energy, x, seeded(1)).loss.detach())
    assert abs(loss - 0.5 * (1 - sigma**2) ** 2 * float(noise.square().sum(1).mean())) < 1e-12
