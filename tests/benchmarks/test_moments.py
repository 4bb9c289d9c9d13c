"""The targets of the comparison of samplers, and the count of steps to a small bias."""

import torch
from scipy import stats
from sklearn.datasets import load_breast_cancer

from tests.benchmarks.moments.bias import Bias
from tests.benchmarks.moments.targets import EFFECTS, ERRORS, TARGETS
from tests.support import normal, seeded


def errors(power: int, moment: torch.Tensor, name: str, n: int = 40_000) -> float:
    """Largest error of a claimed E x_i^power of exact draws, in their standard errors."""
    values = TARGETS[name].truth(TARGETS[name]).draw(n, seeded()) ** power
    return float(((values.mean(0) - moment).abs() / (values.std(0) / n**0.5)).max())


def test_exact_draws_have_the_moments_of_their_targets() -> None:
    for name in ("gaussian", "banana", "funnel"):
        truth = TARGETS[name].truth(TARGETS[name])
        fourth = truth.variance + truth.mean**2
        assert errors(2, truth.mean, name) < 4.5 < errors(2, 1.1 * truth.mean, name)
        assert errors(4, fourth, name) < 4.5 < errors(4, 1.5 * fourth, name)


def test_exact_draws_have_the_virial_of_their_energies() -> None:
    """E[x·∇E] = D ties the energy to the draws; a banana of half the width has not that value."""
    for name, share in (("gaussian", 1.0), ("banana", 1.0), ("funnel", 1.0), ("banana", 0.8)):
        target = TARGETS[name]
        x = (share * target.truth(target).draw(100_000, seeded())).requires_grad_()
        (grad,) = torch.autograd.grad(target.in_torch(x).sum(), x)
        term = (x * grad).sum(1).detach()
        away = abs(float(term.mean()) - target.dim) / float(term.std() / 100_000**0.5)
        assert away < 4 if share == 1 else away > 20


def test_energies_of_the_posteriors_are_their_formulas() -> None:
    x = 0.3 * normal(2, 31)
    found = load_breast_cancer()
    rows = (found.data - found.data.mean(0)) / found.data.std(0)
    odds = torch.as_tensor(rows) @ x[:, :-1].T + x[:, -1]
    chance = torch.where(torch.as_tensor(found.target)[:, None] == 1, odds.sigmoid(), 1 - odds.sigmoid())
    expected = -chance.log().sum(0) + 0.5 * x.square().sum(1)
    torch.testing.assert_close(TARGETS["logistic"].in_torch(x), expected)

    z = normal(2, 10).numpy()
    tau = [float(stats.halfcauchy.logpdf(row.exp(), scale=5) + row) for row in torch.as_tensor(z[:, 1])]
    logs = [
        stats.norm.logpdf(row[0], 0, 5)
        + log_tau
        + stats.norm.logpdf(row[2:]).sum()
        + stats.norm.logpdf(EFFECTS, row[0] + float(torch.tensor(row[1]).exp()) * row[2:], ERRORS).sum()
        for row, log_tau in zip(z, tau, strict=True)
    ]
    # Up to the constants of the densities.
    value = TARGETS["schools"].in_torch(torch.as_tensor(z))
    assert abs(float(value[0] - value[1]) - (logs[1] - logs[0])) < 1e-8


def test_bias_counts_to_the_last_step_above_the_bound() -> None:
    bias = Bias()
    assert not bias.add(torch.tensor([0.5, 0.005, 0.02, 0.009]))
    assert bias.above == 3
    assert not bias.add(torch.full((20,), 0.009))
    assert bias.add(torch.full((20,), 0.009))
    assert (bias.above, bias.steps) == (3, 44)
    # What is not a number is not below a bound.
    assert not bias.add(torch.tensor([float("nan")]))
    assert bias.above == 45
