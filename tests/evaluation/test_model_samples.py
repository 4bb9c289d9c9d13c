"""Samples of an evaluation: the number of stored positions, their cost, and the adapted step size."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from ebm_cli.densities import Gaussian
from ebm_cli.evaluation import model_samples
from ebm_cli.evaluation.model_samples import THIN, draw
from ebm_cli.samplers import NUTS, Tempering
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from tests.support import harmonic, seeded


@pytest.mark.parametrize(("n_samples", "n_chains", "n_stored"), [(1, 5, 1), (10, 5, 2), (11, 5, 3), (40, 8, 5)])
def test_positions_are_as_few_as_give_the_samples(n_samples: int, n_chains: int, n_stored: int) -> None:
    drawn = draw(
        harmonic, Langevin(step_size=0.1), torch.randn(n_chains, 2, generator=seeded()), n_samples, 3, seeded(1)
    )
    assert drawn.draws.shape == (n_stored, n_chains, 2)
    # Diagnostics need four positions of a chain.
    assert ("sampler/rhat" in drawn.results.values) == (n_stored >= 4)


def test_ess_per_gradient_counts_the_gradients() -> None:
    kernel = MALA(step_size=0.3)
    found = draw(harmonic, kernel, torch.randn(50, 2, generator=seeded()), 400, 0, seeded(1)).results.values
    gradients = 50 * kernel.evaluations(8 * THIN).grad
    assert found["sampler/ess_per_grad"] == pytest.approx(found["sampler/ess_bulk"] / gradients, rel=1e-12)
    assert math.isfinite(found["sampler/ess_per_second"])


def test_gradients_at_the_starts_are_counted() -> None:
    """Trees of one leaf have one gradient a step."""
    x, n = torch.randn(50, 2, generator=seeded()), 8 * THIN
    leaf = NUTS(step_size=0.3, max_depth=1)
    jumping = draw(harmonic, leaf, x, 400, 0, seeded(1), Gaussian(x)).results.values
    assert jumping["sampler/ess_bulk"] / jumping["sampler/ess_per_grad"] == pytest.approx(50 * (n + 8 + 2 * 8))
    tempered = draw(harmonic, Tempering(0.3, kernel=leaf, n_replicas=4), x, 400, 0, seeded(1)).results.values
    assert tempered["sampler/ess_bulk"] / tempered["sampler/ess_per_grad"] == pytest.approx(50 * (4 * n + 4))


def test_ess_per_second_takes_burn_in_into_account(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter((100.0, 350.0))
    monkeypatch.setattr(model_samples, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    found = draw(
        harmonic, MALA(step_size=0.3), torch.randn(50, 2, generator=seeded()), 400, 0, seeded(1)
    ).results.values
    assert found["sampler/ess_per_second"] == pytest.approx(found["sampler/ess_bulk"] / 250, rel=1e-12)


@pytest.mark.parametrize("burn_in", [0, 1])
def test_burn_in_adapts_the_step_size(burn_in: int) -> None:
    kernel = replace(MALA(), step_size=0.3)
    found = draw(harmonic, kernel, torch.randn(5, 2, generator=seeded()), 5, burn_in, seeded(1)).results.values
    assert (found["sampler/step_size"] == 0.3) == (burn_in == 0)
