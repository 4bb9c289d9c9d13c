"""The second phase after score matching: the weights of far modes are learned, and the score is held."""

import math

import pytest
import torch
from torch import Tensor

from ebm_cli.densities import CouplingFlow, Gaussian
from ebm_cli.derivatives import detached_gradient
from ebm_cli.energies import Energy, Mixture
from ebm_cli.energies.given import Given
from ebm_cli.errors import UserError
from ebm_cli.methods import CD, DSM, FCE, NCE, SM, SSM, Method, Polish
from ebm_cli.methods.logistic_loss import balanced_log_z
from ebm_cli.samplers.mala import MALA
from ebm_cli.system.ranks import Ranks
from tests.methods.toys import correlated, minimise, mlp
from tests.support import seeded

FAR = [[-5.0], [5.0]]


def far_modes(n: int = 4000, weight: float = 0.2) -> Tensor:
    """Rows of two Gaussians of sd 1 at −5 and 5 [n, 1], with exactly this share in the first."""
    z = torch.randn(n, 1, generator=seeded(), dtype=torch.float64)
    return z + torch.where(torch.arange(n)[:, None] < weight * n, FAR[0][0], FAR[1][0])


def model(weight: float = 0.5) -> Mixture:
    return Mixture((1,), FAR, 1.0, [weight, 1 - weight]).double()


def begun(first: Method, energy: Energy, x: Tensor, keep: float = 2.0) -> Polish:
    polish = Polish(NCE(Gaussian(x)).double(), keep=keep).double()
    polish.begin(first, energy, x, seeded(1))
    return polish


def test_polish_learns_weights_that_score_matching_does_not_see() -> None:
    """The minimum has the weight of the data, whatever the first phase left; score matching alone stays there."""
    x, energy = far_modes(), model()
    polish = begun(SM(), energy, x)
    parameters = [*energy.parameters(), *polish.own_parameters(energy)]
    minimise(parameters, lambda: polish.loss(SM(), energy, x, seeded(2)).loss)
    assert float(energy.weights[0].detach()) == pytest.approx(0.2, abs=0.02)
    alone = model()
    slope = torch.autograd.grad(SM().loss(alone, x, seeded()).loss, alone.logits)[0]
    assert float(slope.abs().max()) < 1e-3


def test_log_z_is_that_of_the_trained_energy() -> None:
    """A first phase does not fix the energy's constant: it is in log Z when the second begins."""
    x = far_modes()
    truth = model(0.2)
    for constant in (0.0, -40.0):
        polish = begun(SM(), Given(lambda points, c=constant: truth(points) + c, (1,)), x)
        (log_z,) = polish.method.parameters()
        assert float(log_z.detach()) == pytest.approx(-constant, abs=0.1)


@pytest.mark.parametrize(("first", "scale"), [(SM(), 1.0), (SSM(), 1.0), (DSM(sigma=0.5), 0.25)])
def test_kept_loss_is_weighed_by_the_size_of_the_score(first: Method, scale: float) -> None:
    """u = D / (scale · E‖∇f‖²): the same at every scale of the data."""
    x, energy = correlated()[:64, :2], mlp()
    polish = begun(first, energy, x, keep=3.0)
    square = detached_gradient(energy, x).square().sum(1).mean()
    torch.testing.assert_close(polish.unit, 2 / (scale * square))
    first_rng, rng = seeded(4), seeded(4)
    kept = first.loss(energy, x, first_rng)
    added = polish.method.loss(energy, x, first_rng)
    out = polish.loss(first, energy, x, rng)
    torch.testing.assert_close(out.loss, added.loss + 3 * polish.unit * kept.loss)
    assert out.evaluations == kept.evaluations.add(added.evaluations)


@pytest.mark.parametrize("method", [SM, SSM])
def test_score_is_measured_in_the_whitened_coordinates(method: type[SM] | type[SSM]) -> None:
    """u = D / E‖Lᵀ∇f‖², LLᵀ the covariance of rows on far smaller scales along some directions than along others."""
    x, energy = correlated()[:64, :2] * torch.tensor([1.0, 0.01], dtype=torch.float64), mlp()
    first = method(whiten=True, shape=(2,), data=x).double()
    assert first.whitening is not None
    square = (detached_gradient(energy, x) @ first.whitening.factor).square().sum(1).mean()
    torch.testing.assert_close(begun(first, energy, x).unit, 2 / square)
    assert not math.isclose(float(square), float(detached_gradient(energy, x).square().sum(1).mean()), rel_tol=0.1)


def test_phase_begins_in_parts_of_the_rows() -> None:
    """No call of the energy has more than 1,024 rows, and the numbers are those of all rows at once."""
    x, energy, sizes = correlated(2500)[:, :2], mlp(), []

    def counted(points: Tensor) -> Tensor:
        sizes.append(len(points))
        value: Tensor = energy(points)
        return value

    polish, whole = begun(SM(), Given(counted, (2,)), x), detached_gradient(energy, x)
    assert max(sizes) == 1024
    torch.testing.assert_close(polish.unit, 2 / whole.square().sum(1).mean())
    (log_z,) = polish.method.parameters()
    noise = Gaussian(x)
    y, log_q = noise.sample_with_log_prob(len(x), seeded(1))
    h_data, h_noise = -energy(x) - noise.log_prob(x), -energy(y) - log_q
    torch.testing.assert_close(log_z.detach(), balanced_log_z(h_data, h_noise, 1.0).detach())


def test_step_waits_for_no_device() -> None:
    """On torch's `meta` device an operation whose result the host needs raises an error."""
    rows = correlated()[:64, :2].float()
    polish = Polish(NCE(Gaussian(rows))).to("meta")
    energy, x = mlp().float().to("meta"), torch.zeros(16, 2, device="meta")
    polish.begin(SM(), energy, x, torch.Generator())
    assert polish.loss(SM(), energy, x, torch.Generator()).loss.device.type == "meta"


def test_polish_refuses_what_it_does_not_mend() -> None:
    x, energy = correlated()[:, :2], mlp()
    with pytest.raises(ValueError, match=r"^polish must be null with method=nce"):
        begun(SM(), energy, x).validate(NCE(Gaussian(x)), energy, 16)
    with pytest.raises(ValueError, match="must train the energy alone, got FCE"):
        Polish(FCE(CouplingFlow((2,)))).validate(SM(), energy, 16)
    chains = CD((2,), MALA(), Gaussian(x), start="persistent", buffer_size=15)
    with pytest.raises(ValueError, match=r"^polish.method.buffer_size must be >= batch_size = 16, got 15"):
        Polish(chains).validate(SM(), energy, 16)
    with pytest.raises(UserError, match=r"^polish.method.buffer_size must be a multiple of parallel.ranks = 2, got 15"):
        Polish(chains).divide(Ranks(0, 2))
    for keys in ({"steps": 0}, {"lr": 0.0}, {"keep": 0.0}, {"keep": math.inf}):
        with pytest.raises(ValueError, match=f"^{next(iter(keys))} must be"):
            Polish(SM(), **keys)  # type: ignore[arg-type]
