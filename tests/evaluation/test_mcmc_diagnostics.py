"""Chain diagnostics against what is known: independent draws, AR(1) chains, chains that disagree, slow loops."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm, rankdata
from torch import Tensor

from ebm_cli.evaluation import mcmc_diagnostics
from ebm_cli.evaluation.mcmc_diagnostics import ess_bulk, ess_tail, rhat, summary


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def autoregressive(rho: float, *shape: int) -> Tensor:
    """Stationary Gaussian AR(1) chains [n_draws, n_chains, D] of unit variance: Corr(x_i, x_{i+t}) = ρ^t."""
    x = normal(*shape)
    for i in range(1, len(x)):
        x[i] = rho * x[i - 1] + math.sqrt(1 - rho**2) * x[i]
    return x


def mean_within(values: Tensor, expected: float) -> bool:
    """Whether the mean over independent coordinates is within five of its standard errors."""
    return abs(float(values.mean()) - expected) < 5 * float(values.std()) / math.sqrt(values.numel())


def tail_efficiency(rho: float, p: float = 0.05, terms: int = 400) -> float:
    """ESS per draw of the indicator of the p-quantile for an AR(1) chain.

    Mehler's expansion: the indicator's autocorrelation at lag t is Σ_k c_k ρ^{tk}, with
    c_k = (φ(a) He_{k−1}(a))² / (k! p(1 − p)), a = Φ⁻¹(p); so τ = 1 + 2 Σ_k c_k ρ^k/(1 − ρ^k).
    """
    a = norm.ppf(p)
    previous, hermite, tau = 0.0, 1.0, 1.0  # He_{k−1}/√((k−1)!), normalised: their recurrence then does not overflow
    for k in range(1, terms):
        c = (norm.pdf(a) * hermite) ** 2 / (k * p * (1 - p))
        tau += 2 * c * rho**k / (1 - rho**k)
        previous, hermite = hermite, (a * hermite - math.sqrt(k - 1) * previous) / math.sqrt(k)
    return 1 / tau


def slow_rhat_and_ess(draws: np.ndarray) -> tuple[float, float]:
    """R̂ of location and bulk ESS of one coordinate [n, m], by the formulas and with loops."""
    half = len(draws) // 2
    split = np.concatenate((draws[:half], draws[-half:]), axis=1)
    z = norm.ppf((rankdata(split.ravel()) - 3 / 8) / (split.size + 1 / 4)).reshape(split.shape)
    n, m = z.shape
    within = z.var(axis=0, ddof=1).mean()
    total = (n - 1) / n * within + z.mean(axis=0).var(ddof=1)
    rho = []
    for t in range(n):
        lag = [
            sum((z[i, c] - z[:, c].mean()) * (z[i + t, c] - z[:, c].mean()) for i in range(n - t)) / (n - 1)
            for c in range(m)
        ]
        rho.append(1 - (within - np.mean(lag)) / total)
    tau, smallest = -1.0, math.inf
    for k in range(n // 2):
        pair = rho[2 * k] + rho[2 * k + 1]
        if pair <= 0:
            break
        smallest = min(smallest, pair)
        tau += 2 * smallest
    return math.sqrt(total / within), m * n / max(tau, 1 / math.log10(m * n))


def test_independent_draws_are_worth_their_number() -> None:
    draws = normal(500, 64, 30)
    for ess in (ess_bulk(draws), ess_tail(draws)):
        assert ess.shape == (30,)
        assert float(ess.mean()) / 32_000 == pytest.approx(1.0, abs=0.02)
        assert float(ess.std()) / 32_000 < 0.03
    assert float(rhat(draws).max()) < 1.01


@pytest.mark.parametrize("rho", [0.5, 0.8, 0.95])
def test_autoregressive_chains_have_their_known_bulk_ess(rho: float) -> None:
    efficiency = ess_bulk(autoregressive(rho, 6000, 4, 50)) / 24_000
    assert mean_within(efficiency, (1 - rho) / (1 + rho))
    assert not mean_within(efficiency, 1.2 * (1 - rho) / (1 + rho))


def test_autoregressive_chains_have_their_known_tail_ess() -> None:
    efficiency = ess_tail(autoregressive(0.8, 6000, 4, 50)) / 24_000
    # The smaller of two independent normal estimates of m with sd s has mean m − s/√π and sd s√(1 − 1/π).
    smaller_of_two = float(efficiency.std()) / math.sqrt(math.pi - 1)
    assert mean_within(efficiency + smaller_of_two, tail_efficiency(0.8))
    assert not mean_within(efficiency + smaller_of_two, (1 - 0.8) / (1 + 0.8))


def test_antithetic_chains_are_worth_more_than_their_number_but_not_without_bound() -> None:
    assert float(ess_bulk(autoregressive(-0.5, 3000, 4, 20)).min()) > 2 * 12_000
    alternating = normal(1, 4, 1) + torch.tensor((-1.0, 1.0), dtype=torch.float64).repeat(500)[:, None, None]
    assert float(ess_bulk(alternating + 0.01 * normal(1000, 4, 1)).max()) <= 4000 * math.log10(4000)


def test_formulas_agree_with_loops_ties_included() -> None:
    draws = torch.cat((autoregressive(0.6, 41, 3, 3), autoregressive(0.6, 41, 3, 3).round()), dim=2)
    expected = [slow_rhat_and_ess(draws[:, :, i].numpy()) for i in range(6)]
    torch.testing.assert_close(ess_bulk(draws), torch.tensor([e for _, e in expected], dtype=torch.float64))
    halves = torch.cat((draws[:20], draws[-20:]), dim=1).permute(2, 1, 0)
    location = mcmc_diagnostics._split_rhat(mcmc_diagnostics._normal_scores(halves))
    torch.testing.assert_close(location, torch.tensor([r for r, _ in expected], dtype=torch.float64))
    assert bool((rhat(draws) >= location).all())


def test_rhat_sees_chains_at_different_places_and_drift_inside_one() -> None:
    shifted, drifting = normal(500, 4, 1), normal(500, 1, 1)
    shifted[:, 0] += 3.0
    drifting[:, 0, 0] += torch.linspace(-2, 2, 500, dtype=torch.float64)
    assert float(rhat(shifted)) > 1.4
    assert float(ess_bulk(shifted)) < 20
    assert float(rhat(drifting)) > 1.4


def test_rhat_sees_chains_of_different_scale_that_agree_in_place() -> None:
    draws = normal(1000, 4, 1)
    draws[:, 0] *= 4.0
    halves = torch.cat((draws[:500], draws[500:]), dim=1).permute(2, 1, 0)
    assert float(mcmc_diagnostics._split_rhat(mcmc_diagnostics._normal_scores(halves))) < 1.02
    assert float(rhat(draws)) > 1.1


def test_draws_without_a_variance_have_an_answer() -> None:
    cauchy = torch.tan(math.pi * (torch.special.ndtr(normal(500, 64, 10)) - 0.5))
    assert float(rhat(cauchy).max()) < 1.01
    assert float(ess_bulk(cauchy).mean()) / 32_000 == pytest.approx(1.0, abs=0.02)


def test_ess_depends_on_order_alone() -> None:
    draws = autoregressive(0.7, 400, 4, 3)
    assert torch.equal(ess_bulk(draws), ess_bulk(draws.exp()))
    assert torch.equal(ess_tail(draws), ess_tail(draws.exp()))


def test_what_is_constant_stuck_or_not_finite() -> None:
    draws = normal(40, 4, 5)
    draws[:, :, 0] = 0.1
    draws[:, :, 1] = torch.tensor((0.1, 0.2, 0.3, 0.7), dtype=torch.float64)
    draws[3, 1, 2] = math.nan
    draws[3, 1, 3] = math.inf
    assert rhat(draws).isnan().tolist() == [True, False, True, True, False]
    assert float(rhat(draws)[1]) == math.inf
    assert ess_bulk(draws).isnan().tolist() == ess_tail(draws).isnan().tolist() == [True, False, True, True, False]
    assert float(ess_bulk(draws)[1]) < 5


def test_summary_is_the_worst_coordinate_and_leaves_out_what_has_no_value() -> None:
    draws = torch.cat((autoregressive(0.9, 500, 4, 1), normal(500, 4, 2), torch.ones(500, 4, 1)), dim=2)
    assert summary(draws) == {
        "rhat": pytest.approx(float(rhat(draws)[:3].max())),
        "ess_bulk": pytest.approx(float(ess_bulk(draws)[0])),
        "ess_tail": pytest.approx(float(ess_tail(draws)[0])),
    }
    assert summary(torch.ones(10, 2, 3)) == {}
    assert "rhat" not in summary(torch.arange(3.0).expand(10, 3)[:, :, None])


def test_coordinates_are_worked_on_in_blocks_and_keep_their_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = normal(50, 3, 1, 4, 5).float()
    whole = [f(draws) for f in (rhat, ess_bulk, ess_tail)]
    assert all(values.shape == (1, 4, 5) and values.dtype == torch.float64 for values in whole)
    assert rhat(draws[:, :, 0, 0, 0]).shape == ()
    monkeypatch.setattr(mcmc_diagnostics, "BLOCK", 500)
    for f, expected in zip((rhat, ess_bulk, ess_tail), whole, strict=True):
        torch.testing.assert_close(f(draws), expected, rtol=1e-12, atol=0)


def test_too_few_draws_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^draws must hold at least 4 draws a chain, got 3"):
        rhat(normal(3, 4, 1))
