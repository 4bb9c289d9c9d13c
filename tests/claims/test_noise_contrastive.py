"""The error of noise contrastive estimation against its limit, and the limit against the theorem by brute force."""

import math

import pytest
import torch

from ebm_cli.claims import NoiseContrastiveError
from ebm_cli.claims.noise_contrastive import error_limit
from ebm_cli.runs.record import Record
from tests.claims.records import nce_run, passed


def test_error_is_compared_with_the_limit_of_each_run() -> None:
    claim = NoiseContrastiveError(within=0.15, where={"method.nu": [1.0, 10.0]})
    right = [nce_run(n, error_limit(5, nu, 1.5) / n, nu) for n in (1000, 4000) for nu in (1.0, 10.0)]
    assert passed(claim, right) == [True, True]
    assert passed(claim, right[:1]) == [True, None]
    # The control: 20, the limit of maximum likelihood, in place of 36.8.
    assert passed(claim, [nce_run(1000, 20 / 1000)]) == [False, None]


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (nce_run(100, 0.1, batch_size=50), "takes 50 rows a step, and the theory needs all"),
        (nce_run(100, 0.1, method={"nu": 1.0, "redraw": True}), "method.redraw=True, and the theory needs False"),
        (nce_run(100, 0.1)._replace(hydra_choices={"method": "mle"}), "method=mle, and the theory needs nce"),
    ],
)
def test_theory_is_not_applied_to_other_runs(run: Record, message: str) -> None:
    [verdict] = NoiseContrastiveError(within=0.15).judge([run])
    assert verdict.passed is False
    assert message in verdict.what


@pytest.mark.parametrize("nu", [0.5, 1.0, 10.0])
@pytest.mark.parametrize("dim", [2, 5, 20])
def test_limit_with_noise_like_the_data_counts_the_parameters(dim: int, nu: float) -> None:
    assert error_limit(dim, nu, 1.0) == pytest.approx((1 + 1 / nu) * dim * (dim + 3) / 2)


@pytest.mark.parametrize(("nu", "widen"), [(1.0, 1.5), (10.0, 1.5), (1.0, 0.8)])
def test_limit_equals_theorem_3_by_brute_force(nu: float, widen: float) -> None:
    """tr(F Σ) with every matrix of the theorem as a mean over 400,000 draws, in three dimensions."""
    dim = 3
    x = torch.randn(400_000, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows, cols = torch.triu_indices(dim, dim)
    g = torch.cat([x, x[:, rows] * x[:, cols], torch.ones(len(x), 1, dtype=x.dtype)], dim=1)
    log_ratio = -dim * math.log(widen) + 0.5 * x.square().sum(1) * (1 - widen**-2)
    p = torch.sigmoid(math.log(nu) + log_ratio)
    inverse = torch.linalg.inv((g * p[:, None]).T @ g / len(x))
    b = (g * p[:, None]).mean(0)
    covariance = inverse - (1 + 1 / nu) * torch.outer(inverse @ b, inverse @ b)
    fisher = torch.cov(g.T)  # of the normalised model: the last row and column, those of log Z, are 0
    assert float((fisher @ covariance).trace()) == pytest.approx(error_limit(dim, nu, widen), rel=0.01)
