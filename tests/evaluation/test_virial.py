"""The virial of draws: its value for chains of known bias, and its standard error."""

import math

import pytest
import torch
from torch import Tensor

from ebm_cli.evaluation.chain_summary import worst_diagnostics
from ebm_cli.evaluation.mcmc_diagnostics import rhat
from ebm_cli.evaluation.monte_carlo_error import mcse_mean
from ebm_cli.evaluation.result_registry import verdict
from ebm_cli.evaluation.virial import virial
from ebm_cli.samplers import Kernel, trace
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from ebm_cli.samplers.underdamped import Underdamped
from tests.support import autoregressive, harmonic, is_mean, normal, seeded


def chains(kernel: Kernel, variance: float = 1.0) -> Tensor:
    """Draws of stationary chains on N(0, I) [20, 500, 3], which start with the variance that the kernel keeps."""
    start = math.sqrt(variance) * normal(500, 3)
    return trace(kernel, harmonic, start, 200, 10, seeded())[0]


@pytest.mark.parametrize("eps", [0.2, 0.5, 1.0])
def test_virial_of_unadjusted_langevin_is_known(eps: float) -> None:
    kernel = Langevin(eps)
    variance = kernel.stationary_variance(1.0)
    assert variance is not None
    found = virial(harmonic, chains(kernel, variance)).values
    value, error = float(found["sampler/virial"] or 0), float(found["sampler/virial_se"] or 0)
    assert abs(value - 3 * (variance - 1)) < 5 * error
    assert value > 5 * error
    assert found["sampler/virial_exact"] == 3


@pytest.mark.parametrize("kernel", [MALA(0.8), Underdamped(0.9)], ids=lambda k: type(k).__name__)
def test_virial_of_an_exact_chain_is_zero(kernel: Kernel) -> None:
    found = virial(harmonic, chains(kernel)).values
    assert abs(float(found["sampler/virial"] or 0)) < 5 * float(found["sampler/virial_se"] or 0) < 0.3


def test_virial_counts_the_temperature() -> None:
    found = virial(harmonic, math.sqrt(2) * normal(40, 100, 3), 2.0).values
    assert found["sampler/virial_exact"] == 6
    assert abs(float(found["sampler/virial"] or 0)) < 5 * float(found["sampler/virial_se"] or 0)


@pytest.mark.parametrize("shape", [(8, 50, 3), (40, 8, 3)])
def test_standard_error_is_the_spread_of_the_virial(shape: tuple[int, int, int]) -> None:
    """It is by the means of many chains, of few by the autocorrelation of their draws."""
    rng = seeded()
    found = [virial(harmonic, torch.randn(*shape, generator=rng, dtype=torch.float64)).values for _ in range(80)]
    values, errors = (torch.tensor([float(f[f"sampler/virial{end}"] or 0) for f in found]) for end in ("", "_se"))
    assert is_mean(values, 0.0)
    assert float(errors.mean()) == pytest.approx(float(values.std()), rel=0.2)


def test_a_few_chains_with_one_at_rest_have_no_standard_error() -> None:
    draws = normal(5, 4, 3)
    draws[:, 1] = draws[0, 1]
    found = virial(harmonic, draws)
    assert isinstance(found.values["sampler/virial"], float)
    assert found.absent == {"sampler/virial_se": "it cannot be known where one of a few chains is at rest"}


def test_draws_that_are_not_finite_have_no_virial() -> None:
    draws = normal(5, 4, 3)
    draws[2, 1, 0] = math.nan
    found = virial(harmonic, draws)
    assert found.values == {}
    assert found.absent == {"sampler/virial": "draws or their gradients are not finite"}


def test_few_draws_of_few_chains_have_no_standard_error() -> None:
    found = virial(harmonic, normal(3, 5, 2))
    assert set(found.values) == {"sampler/virial", "sampler/virial_exact"}
    assert found.absent == {"sampler/virial_se": "too few draws a chain: 3, and 4 are needed"}


def test_few_chains_that_have_not_met_have_no_standard_error() -> None:
    found = virial(harmonic, normal(50, 4, 3), rhat=1.2)
    said = "it cannot be known from 4 chains with R-hat 1.2; take longer chains, or 20 or more"
    assert found.absent == {"sampler/virial_se": said}
    assert virial(harmonic, normal(50, 4, 3), rhat=1.09).absent == {}
    assert virial(harmonic, normal(50, 20, 3), rhat=1.2).absent == {}


def test_correlated_draws_of_few_chains_are_not_called_biased() -> None:
    """Stationary autoregressive chains with no bias: 3 MCSE are too few for them, and no verdict says so."""
    draws, false_alarms, exceeded = autoregressive(50, 240, 15.0, 2).unflatten(1, (60, 4)), 0, 0
    for chains in draws.transpose(0, 1):
        found = worst_diagnostics(chains) | virial(harmonic, chains, rhat=float(rhat(chains).max()))
        value = float(found.values["sampler/virial"] or 0)
        false_alarms += verdict("sampler/virial", found.values).good is False
        exceeded += abs(value) > 3 * float(mcse_mean((chains * chains).sum(-1)))
    assert false_alarms == 0
    assert exceeded >= 3
