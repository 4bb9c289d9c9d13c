"""Telescoped noise contrastive estimation: nce with one bridge, right where one ratio fails with several."""

import math

import pytest
import torch
from torch import Tensor

from ebm_cli.densities import Gaussian, Uniform
from ebm_cli.methods import NCE, Bridges
from ebm_cli.methods.bridges import mixing, waymarks
from tests.methods.toys import correlated, gaussian_energy, minimise, mlp
from tests.support import seeded


def wide(x: Tensor, sd: float) -> Gaussian:
    """N(0, sd² I), whatever the rows."""
    z = torch.randn(5000, *x.shape[1:], generator=seeded(8), dtype=x.dtype)
    z = z - z.mean(0)
    return Gaussian(sd * z / z.std(0, correction=0), ridge=1e-12)


def test_waymarks_go_from_rows_to_noise_in_equal_ratios() -> None:
    assert mixing(1, 0.1) == [0.0, 1.0]
    assert mixing(4, 1e-3) == pytest.approx([0.0, 1e-3, 1e-2, 1e-1, 1.0])
    x, y = torch.randn(200_000, 1, generator=seeded()), 3 * torch.randn(200_000, 1, generator=seeded(1))
    marks = waymarks(x, y, mixing(3, 0.04))
    assert torch.equal(marks[0], x)
    assert torch.equal(marks[-1], y)
    # Independent rows and noise: Var = (1 − α²) 1 + α² 9.
    assert float(marks[2].var()) == pytest.approx(0.96 + 0.04 * 9, rel=0.02)


def test_one_bridge_is_nce() -> None:
    x, energy = correlated()[:200, :2], mlp()
    noise = Gaussian(x)
    bridges = Bridges((2,), x, noise, n_bridges=1, log_z=0.3).double()
    expected = NCE(noise, log_z=0.3).double().loss(energy, x, seeded(5))
    found = bridges.loss(energy, x, seeded(5))
    torch.testing.assert_close(found.loss, expected.loss)
    assert found.evaluations == expected.evaluations


@pytest.mark.parametrize("n_bridges", [1, 4])
def test_bridges_learn_what_one_ratio_does_not(n_bridges: int) -> None:
    """N(0, 1) against noise of sd 10,000: right over four bridges, while one classifier makes no error at once."""
    x = torch.randn(4000, 1, generator=seeded(), dtype=torch.float64)
    energy = gaussian_energy(torch.full((1, 1), 0.3).double(), torch.zeros(1).double())
    method = Bridges((1,), x, wide(x, 1e4), n_bridges=n_bridges, least=1e-3).double()
    method.prepare(x, seeded(1))
    minimise([energy.raw_precision, method.log_z], lambda: method.loss(energy, x, seeded(2)).loss)
    precision, gap = float(energy.precision.detach()), float((method.log_z - energy.log_z()).detach())
    is_right = abs(precision - 1 / float(x.square().mean())) < 0.1 and abs(gap) < 0.1
    assert is_right == (n_bridges == 4), (precision, gap)


def test_gradient_vanishes_at_the_truth_alone() -> None:
    """Within five standard errors over batches, with waymarks that are Gaussian; a wrong energy is outside."""
    x = 1.3 * torch.randn(20_000, 1, generator=seeded(), dtype=torch.float64)
    method = Bridges((1,), x, wide(x, 8.0), n_bridges=3, least=0.2).double()
    method.prepare(x, seeded(1))
    for scale, is_right in ((1.0, True), (1.3, False)):
        energy = gaussian_energy(torch.full((1, 1), scale / 1.69).double(), torch.zeros(1).double())
        log_z = energy.log_z()
        assert log_z is not None
        with torch.no_grad():
            method.log_z.copy_(log_z)
        slopes = torch.stack(
            [
                torch.autograd.grad(method.loss(energy, rows, seeded(i)).loss, energy.raw_precision)[0].flatten()
                for i, rows in enumerate(x.split(500))
            ]
        )
        errors = abs(float(slopes.mean() / (slopes.std() / math.sqrt(len(slopes)))))
        assert (errors < 5) == is_right


def test_step_waits_for_no_device() -> None:
    """On torch's `meta` device an operation whose result the host needs raises an error."""
    rows = correlated()[:64, :2].float()
    method = Bridges((2,), rows, Gaussian(rows)).to("meta")
    out = method.loss(mlp().float().to("meta"), torch.zeros(16, 2, device="meta"), torch.Generator())
    assert out.loss.device.type == "meta"


def test_noise_with_a_border_and_bad_numbers_are_refused() -> None:
    x = correlated()
    with pytest.raises(ValueError, match="noise must be positive everywhere"):
        Bridges((3,), x, Uniform(x))
    for keys in ({"n_bridges": 0}, {"least": 0.0}, {"least": 1.0}, {"width": 0}, {"fit_steps": -1}):
        with pytest.raises(ValueError, match=f"^{next(iter(keys))} must be"):
            Bridges((3,), x, Gaussian(x), **keys)  # type: ignore[arg-type]
