"""R̂, effective sample sizes and Monte Carlo errors are ArviZ's, on random chains of many shapes and kinds."""

import warnings
from collections.abc import Callable
from functools import cache, partial
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from ebm_cli.evaluation.mcmc_diagnostics import ess_bulk, ess_mean, ess_quantile, ess_sd, ess_tail, rhat
from ebm_cli.evaluation.monte_carlo_error import mcse_mean, mcse_quantile, mcse_sd

N_ARRAYS = 60
KINDS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    lambda x: x,
    np.round,
    lambda x: np.round(2 * x) / 7,
    lambda x: 1e4 * np.tan(x) + 50,
    lambda x: 1e-4 * x + np.arange(len(x))[:, None] * 1e-4,
    lambda x: x > 0,
)
"""Applied to autoregressive chains: as they are, ties, ties off the integers, heavy tails, chains apart, two values."""


@pytest.fixture(scope="module")
def arviz() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it announces its next version
        import arviz
    return arviz


@cache
def chains(seed: int) -> np.ndarray:
    """Draws [n_chains, n_draws] of the seed's own shape, autocorrelation and kind; no chain is constant."""
    rng = np.random.default_rng(seed)
    shape = int(rng.integers(2, 9)), int(rng.integers(4, 40) if seed % 3 == 0 else rng.integers(40, 300))
    rho = rng.choice([-0.6, 0.0, 0.5, 0.95])
    while True:
        x = rng.standard_normal(shape)
        for i in range(1, shape[1]):
            x[:, i] = rho * x[:, i - 1] + np.sqrt(1 - rho**2) * x[:, i]
        x = KINDS[seed % len(KINDS)](x).astype(float)
        if (np.ptp(x, axis=1) > 0).all():
            return x


def as_draws(x: np.ndarray) -> Tensor:
    return torch.from_numpy(x.T.copy())


@pytest.mark.parametrize(
    ("ours", "function", "settings"),
    [
        (rhat, "rhat", {"method": "rank"}),
        (ess_bulk, "ess", {"method": "bulk"}),
        (ess_tail, "ess", {"method": "tail"}),
        (ess_mean, "ess", {"method": "mean"}),
        (ess_sd, "ess", {"method": "sd"}),
        (partial(ess_quantile, probability=0.3), "ess", {"method": "quantile", "prob": 0.3}),
        (mcse_mean, "mcse", {"method": "mean"}),
        (mcse_sd, "mcse", {"method": "sd"}),
        (partial(mcse_quantile, probability=0.05), "mcse", {"method": "quantile", "prob": 0.05}),
        (partial(mcse_quantile, probability=0.5), "mcse", {"method": "quantile", "prob": 0.5}),
    ],
)
def test_diagnostic_is_arvizs(
    ours: Callable[[Tensor], Tensor], function: str, settings: dict[str, object], arviz: ModuleType
) -> None:
    arrays = [chains(seed) for seed in range(N_ARRAYS)]
    expected = np.array([getattr(arviz, function)(x, **settings) for x in arrays], dtype=float)
    found = np.array([float(ours(as_draws(x))) for x in arrays])
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    # Control: of other chains they are others.
    assert not np.allclose(np.roll(found, 6), expected, rtol=1e-2)
