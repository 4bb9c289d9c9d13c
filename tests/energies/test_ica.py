"""The energy of independent components, and the mixture whose weights alone are trained."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ebm_cli import energies
from ebm_cli.datasets import ICA
from ebm_cli.derivatives import directional, laplacian, supports, value_and_grad
from ebm_cli.energies import Energy, Mixture
from ebm_cli.methods.sm import SM
from tests.support import seeded


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def ica() -> Energy:
    torch.manual_seed(0)
    return energies.ICA((4,))


def mixture() -> Energy:
    return Mixture((4,), torch.randn(3, 4, generator=seeded(1)).tolist(), 0.7, [0.2, 0.3, 0.5])


# --- the energies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [ica, mixture])
def test_the_rule_is_what_autograd_says(make: Callable[[], Energy]):
    """Value, gradient, directional second derivatives and Laplacian; a callable has no rule, so autograd answers."""
    energy = make()
    x, v = torch.randn(5, 4, generator=seeded(2)), torch.randn(3, 5, 4, generator=seeded(3))
    assert supports(energy)

    def plain(points: Tensor) -> Tensor:
        return energy(points)

    for ours, theirs in zip(value_and_grad(energy, x), value_and_grad(plain, x), strict=True):
        torch.testing.assert_close(ours, theirs)
    for ours, theirs in zip(laplacian(energy, x), laplacian(plain, x), strict=True):
        torch.testing.assert_close(ours, theirs)
    along, grad = directional(energy, x, v, with_gradient=True)
    other, other_grad = directional(plain, x, v, with_gradient=True)
    torch.testing.assert_close(along.slopes, other.slopes)
    torch.testing.assert_close(along.curvature, other.curvature)
    torch.testing.assert_close(grad, other_grad)


@pytest.mark.parametrize("make", [ica, mixture])
def test_the_rule_trains_the_parameters_that_autograd_trains(make: Callable[[], Energy]):
    energy = make()
    x = torch.randn(6, 4, generator=seeded(4))
    parameters = list(energy.parameters())

    def plain(points: Tensor) -> Tensor:
        return energy(points)

    grad, trace = laplacian(energy, x)
    ours = torch.autograd.grad((0.5 * grad.square().sum(1) - trace).mean(), parameters)
    grad, trace = laplacian(plain, x)
    theirs = torch.autograd.grad((0.5 * grad.square().sum(1) - trace).mean(), parameters)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_the_ica_energy_with_the_true_matrix_is_the_density_of_the_data():
    density, energy = ICA(dim=10), energies.ICA((10,))
    with torch.no_grad():
        energy.weight.copy_(density.unmixing)
    x = density.sample(50, seeded(5))
    torch.testing.assert_close(-energy(x) - energy.log_z(), density.log_prob(x))


@pytest.mark.parametrize("make", [ica, mixture])
def test_exact_samples_have_the_energys_moments(make: Callable[[], Energy]):
    """E[x·∇f] = D and E[∇f] = 0 for exp(−f)/Z, by integration by parts; points 5 % too wide are the control."""
    energy = make()
    x = energy.sample(100_000, seeded(9))
    assert x is not None
    assert x.shape == (100_000, 4)

    def deviations(x: Tensor) -> Tensor:
        grad = value_and_grad(energy, x)[1]
        terms = torch.cat([(x * grad).sum(1, keepdim=True) - 4, grad], dim=1)
        return terms.mean(0).abs() / (terms.std(0) / math.sqrt(len(x)))

    assert (deviations(x) < 5).all()
    assert (deviations(1.05 * x) > 5).any()


def test_log_z_of_ica_is_differentiable():
    energy = energies.ICA((3,))
    (grad,) = torch.autograd.grad(energy.log_z(), energy.weight)
    torch.testing.assert_close(grad, -torch.linalg.inv(energy.weight).T)


def test_the_ica_energy_starts_as_a_rotation_to_sources_of_the_logistics_variance():
    torch.manual_seed(1)
    first, second = energies.ICA((6,)).weight, energies.ICA((6,)).weight
    for weight in (first, second):
        torch.testing.assert_close(weight @ weight.T, math.pi**2 / 3 * torch.eye(6))
    assert (first - second).abs().max() > 0.1


def test_the_mixture_energy_is_the_mixture():
    means, weights = [[-1.0, 0.0], [1.0, 2.0]], [1.0, 3.0]
    energy = Mixture((2,), means, 0.5, weights)
    parts = torch.distributions.MultivariateNormal(torch.tensor(means), 0.25 * torch.eye(2))
    truth = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(torch.tensor(weights)), parts)
    x = torch.randn(20, 2, generator=seeded(6))
    torch.testing.assert_close(-energy(x), truth.log_prob(x))
    assert float(energy.log_z()) == 0
    torch.testing.assert_close(energy.weights, torch.tensor([0.25, 0.75]))


def test_score_matching_does_not_see_the_weights_of_far_components_and_likelihood_does():
    """Between 0.2 and 0.6 on the same rows, drawn with 0.2; near components are the control."""

    def losses(distance: float) -> tuple[float, float]:
        z, u = torch.randn(20_000, 1, generator=seeded(7)), torch.rand(20_000, 1, generator=seeded(8))
        x = z + torch.where(u < 0.2, -distance, distance)
        models = [Mixture((1,), [[-distance], [distance]], 1.0, [w, 1 - w]) for w in (0.2, 0.6)]
        score = [float(SM().loss(model, x, seeded()).loss.detach()) for model in models]
        nll = [float(model(x).mean().detach()) for model in models]
        return abs(score[1] - score[0]), nll[1] - nll[0]

    blind, likelihood = losses(5.0)
    assert blind < 1e-3
    # KL between the weights alone: 0.2 log(0.2/0.6) + 0.8 log(0.8/0.4).
    assert likelihood == pytest.approx(0.2 * math.log(1 / 3) + 0.8 * math.log(2), abs=0.02)
    assert losses(1.0)[0] > 1e-2


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"means": [[0.0]], "std": 1.0, "weights": [1.0]}, r"^means must be lists of 2 numbers"),
        ({"means": [], "std": 1.0, "weights": []}, r"^means must be"),
        ({"means": [[0.0, 0.0]], "std": 0.0, "weights": [1.0]}, r"^std must be > 0, got 0"),
        ({"means": [[0.0, 0.0]], "std": 1.0, "weights": [0.0]}, r"^weights must be 1 numbers > 0"),
        ({"means": [[0.0, 0.0]], "std": 1.0, "weights": [0.5, 0.5]}, r"^weights must be 1 numbers > 0"),
    ],
)
def test_what_the_mixture_refuses(keys: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        Mixture((2,), **keys)  # type: ignore[arg-type]
