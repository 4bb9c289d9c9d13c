"""The mixture with trained weights, and the blindness of score matching on it."""

import math

import pytest
import torch

from ebm_cli.derivatives import supports
from ebm_cli.energies import Mixture
from ebm_cli.methods.sm import SM
from tests.energies.moments import moment_deviations
from tests.support import assert_same_derivatives, autograd_only, normal, seeded

pytestmark = pytest.mark.usefixtures("float64")


def mixture() -> Mixture:
    return Mixture((4,), normal(3, 4).tolist(), 0.7, [0.2, 0.3, 0.5])


def test_mixture_derivative_rules_equal_autograd() -> None:
    energy = mixture()
    assert supports(energy)
    assert_same_derivatives(energy, autograd_only(energy), normal(6, 4, seed=2), normal(3, 6, 4, seed=3))


def test_mixture_samples_are_exact() -> None:
    energy = mixture()
    x = energy.sample(100_000, seeded(9))
    assert x.shape == (100_000, 4)
    assert (moment_deviations(energy, x) < 5).all()
    # Control: points that are 5 % too wide.
    assert (moment_deviations(energy, 1.05 * x) > 5).any()


def test_mixture_is_its_density() -> None:
    means, weights = [[-1.0, 0.0], [1.0, 2.0]], [1.0, 3.0]
    energy = Mixture((2,), means, 0.5, weights)
    parts = torch.distributions.MultivariateNormal(torch.tensor(means), 0.25 * torch.eye(2))
    truth = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(torch.tensor(weights)), parts)
    x = torch.randn(20, 2, generator=seeded(6))
    torch.testing.assert_close(-energy(x), truth.log_prob(x))
    assert float(energy.log_z()) == 0
    torch.testing.assert_close(energy.weights, torch.tensor([0.25, 0.75]))


def test_score_matching_is_blind_to_weights_of_far_components() -> None:
    """Losses of the weights 0.2 and 0.6 on rows drawn with 0.2; likelihood and near components are the controls."""

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
def test_mixture_refuses_lists_that_do_not_fit(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mixture((2,), **keys)  # type: ignore[arg-type]


def test_means_are_trained_if_wanted() -> None:
    """Score matching moves them through the derivative rules as through autograd; without the key they are fixed."""
    assert [name for name, _ in mixture().named_parameters()] == ["logits"]
    energy = Mixture((2,), [[-1.0, 0.0], [1.0, 2.0]], 0.5, [1.0, 3.0], train_means=True)
    assert {name for name, _ in energy.named_parameters()} == {"logits", "means"}
    x = normal(50, 2)
    found, expected = (
        torch.autograd.grad(SM().loss(each, x, seeded()).loss, energy.means)[0]
        for each in (energy, autograd_only(energy))
    )
    torch.testing.assert_close(found, expected)
    assert not energy.sample(10, seeded()).requires_grad
