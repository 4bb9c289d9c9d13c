"""Chain diagnostics of independent draws, AR(1) chains, and chains that disagree; test_arviz.py compares with ArviZ."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from ebm_cli.evaluation import mcmc_diagnostics
from ebm_cli.evaluation.mcmc_diagnostics import diagnose, ess_bulk, ess_mean, ess_quantile, ess_sd, ess_tail, rhat
from ebm_cli.evaluation.monte_carlo_error import mcse_mean, mcse_quantile, mcse_sd
from tests.support import is_mean, normal


def autoregressive(rho: float, *shape: int) -> Tensor:
    """Stationary Gaussian AR(1) chains [n_draws, n_chains, D] of unit variance: Corr(x_i, x_{i+t}) = ρ^t."""
    x = normal(*shape, seed=0)
    for i in range(1, len(x)):
        x[i] = rho * x[i - 1] + math.sqrt(1 - rho**2) * x[i]
    return x


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


def test_ess_of_independent_draws_is_their_number() -> None:
    draws = normal(500, 64, 30, seed=0)
    for ess in (ess_bulk(draws), ess_tail(draws)):
        assert ess.shape == (30,)
        assert float(ess.mean()) / 32_000 == pytest.approx(1.0, abs=0.02)
        assert float(ess.std()) / 32_000 < 0.03
    assert float(rhat(draws).max()) < 1.01


@pytest.mark.parametrize("rho", [0.5, 0.8, 0.95])
def test_bulk_ess_of_autoregressive_chains_is_known(rho: float) -> None:
    efficiency = ess_bulk(autoregressive(rho, 6000, 4, 50)) / 24_000
    assert is_mean(efficiency, (1 - rho) / (1 + rho))
    assert not is_mean(efficiency, 1.2 * (1 - rho) / (1 + rho))


def test_tail_ess_of_autoregressive_chains_is_known() -> None:
    efficiency = ess_tail(autoregressive(0.8, 6000, 4, 50)) / 24_000
    # The smaller of two independent normal estimates of m with sd s has mean m − s/√π and sd s√(1 − 1/π).
    smaller_of_two = float(efficiency.std()) / math.sqrt(math.pi - 1)
    assert is_mean(efficiency + smaller_of_two, tail_efficiency(0.8))
    assert not is_mean(efficiency + smaller_of_two, (1 - 0.8) / (1 + 0.8))


def test_ess_of_antithetic_chains_is_large_and_bounded() -> None:
    assert float(ess_bulk(autoregressive(-0.5, 3000, 4, 20)).min()) > 2 * 12_000
    alternating = normal(1, 4, 1, seed=0) + torch.tensor((-1.0, 1.0), dtype=torch.float64).repeat(500)[:, None, None]
    assert float(ess_bulk(alternating + 0.01 * normal(1000, 4, 1, seed=0)).max()) <= 4000 * math.log10(4000)


def test_rhat_detects_different_places_and_drift() -> None:
    shifted, drifting = normal(500, 4, 1, seed=0), normal(500, 1, 1, seed=0)
    shifted[:, 0] += 3.0
    drifting[:, 0, 0] += torch.linspace(-2, 2, 500, dtype=torch.float64)
    assert float(rhat(shifted)) > 1.4
    assert float(ess_bulk(shifted)) < 20
    assert float(rhat(drifting)) > 1.4


def test_rhat_detects_different_scales() -> None:
    draws = normal(1000, 4, 1, seed=0)
    draws[:, 0] *= 4.0
    halves = torch.cat((draws[:500], draws[500:]), dim=1).permute(2, 1, 0)
    assert float(mcmc_diagnostics._rhat_of_scores(mcmc_diagnostics._rank(halves).scores)) < 1.02
    assert float(rhat(draws)) > 1.1


def test_draws_without_a_variance_have_diagnostics() -> None:
    cauchy = torch.tan(math.pi * (torch.special.ndtr(normal(500, 64, 10, seed=0)) - 0.5))
    assert float(rhat(cauchy).max()) < 1.01
    assert float(ess_bulk(cauchy).mean()) / 32_000 == pytest.approx(1.0, abs=0.02)


def test_ess_depends_on_ranks_alone() -> None:
    draws = autoregressive(0.7, 400, 4, 3)
    assert torch.equal(ess_bulk(draws), ess_bulk(draws.exp()))
    assert torch.equal(ess_tail(draws), ess_tail(draws.exp()))


QUANTILE = [partial(function, probability=0.3) for function in (ess_quantile, mcse_quantile)]
ALL = [rhat, ess_bulk, ess_tail, ess_mean, ess_sd, mcse_mean, mcse_sd, *QUANTILE]


def name_of(diagnostic: Callable[..., Tensor]) -> str:
    function = diagnostic.func if isinstance(diagnostic, partial) else diagnostic
    return function.__name__


@pytest.mark.parametrize("diagnostic", ALL, ids=name_of)
def test_constant_and_non_finite_chains_have_no_diagnostic(diagnostic: Callable[..., Tensor]) -> None:
    draws = normal(40, 4, 6, seed=0)
    draws[:, :, 0] = 0.1
    draws[:, :, 1] = torch.tensor((0.1, 0.2, 0.3, 0.7), dtype=torch.float64)
    draws[:, 2, 2] = 0.5
    draws[3, 1, 3] = math.nan
    draws[3, 1, 4] = math.inf
    assert diagnostic(draws).isnan().tolist() == [True] * 5 + [False]


@pytest.mark.parametrize("diagnostic", ALL, ids=name_of)
@pytest.mark.parametrize("n", [0, 1, 3])
def test_too_short_chains_have_no_diagnostic(n: int, diagnostic: Callable[..., Tensor]) -> None:
    short = diagnostic(normal(n, 4, 2, 3, seed=0))
    assert short.shape == (2, 3)
    assert bool(short.isnan().all())
    assert not bool(diagnostic(normal(4, 4, 2, 3, seed=0)).isnan().any())


def test_mean_and_sd_need_no_unit() -> None:
    draws = autoregressive(0.7, 300, 4, 3)
    for ess in (ess_mean, ess_sd):
        torch.testing.assert_close(ess(1e-19 * draws), ess(draws), rtol=1e-9, atol=0)
        torch.testing.assert_close(ess(1e12 * draws), ess(draws), rtol=1e-9, atol=0)


def test_few_draws_have_an_ess_of_their_autocorrelation() -> None:
    """For 8 draws a chain the function's estimate sums no lag: it is S log10 S, for chains that hardly move, too."""
    slow, fast = autoregressive(0.98, 8, 500, 4), normal(8, 500, 4, seed=0)
    assert ess_bulk(slow) == pytest.approx(4000 * math.log10(4000))
    assert float(diagnose(slow).ess_bulk.max()) < 1400
    assert float(diagnose(fast).ess_bulk.min()) > 3000


def test_one_pass_gives_what_the_functions_give() -> None:
    draws = torch.cat((autoregressive(0.7, 41, 4, 2), autoregressive(0.7, 41, 4, 1).round()), dim=2)
    found = diagnose(draws)
    assert torch.equal(found.rhat, rhat(draws))
    assert torch.equal(found.ess_bulk, ess_bulk(draws))
    assert torch.equal(found.ess_tail, ess_tail(draws))
    halves = torch.cat((draws[:20], draws[-20:]))
    assert found.n_distinct.tolist() == [len(halves[:, :, i].unique()) for i in range(3)]
    assert torch.equal(found.bounded().ess_bulk, torch.minimum(found.ess_bulk, found.n_distinct))
    assert float(found.bounded().ess_tail[2]) <= len(halves[:, :, 2].unique())


def test_diagnostics_have_the_shape_of_a_point() -> None:
    draws = normal(50, 3, 1, 4, 5, seed=0).float()
    for diagnostic in (rhat, ess_bulk, ess_tail):
        assert (diagnostic(draws).shape, diagnostic(draws).dtype) == ((1, 4, 5), torch.float64)
    assert rhat(draws[:, :, 0, 0, 0]).shape == ()


@pytest.mark.parametrize("diagnostic", [rhat, ess_bulk, ess_tail])
def test_diagnostics_do_not_depend_on_blocks(diagnostic: Callable[..., Tensor]) -> None:
    draws = normal(50, 3, 1, 4, 5, seed=0).float()
    torch.testing.assert_close(diagnostic(draws, block=500), diagnostic(draws), rtol=1e-12, atol=0)
