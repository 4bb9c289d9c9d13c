"""The samples of an evaluation: how many positions are kept, what they cost, and whether the step size is found."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from ebm_cli.evaluation import model_samples
from ebm_cli.evaluation.model_samples import THIN, draw
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from tests.support import seeded


def harmonic(x: Tensor) -> Tensor:
    return 0.5 * x.square().sum(1)


@pytest.mark.parametrize(("n_samples", "n_chains", "n_kept"), [(1, 5, 1), (10, 5, 2), (11, 5, 3), (40, 8, 5)])
def test_as_few_positions_as_give_the_samples(n_samples: int, n_chains: int, n_kept: int) -> None:
    drawn = draw(
        harmonic, Langevin(step_size=0.1), torch.randn(n_chains, 2, generator=seeded()), n_samples, 3, seeded(1)
    )
    assert drawn.draws.shape == (n_kept, n_chains, 2)
    # Four positions of a chain are the fewest that tell of its mixing.
    assert ("sampler/rhat" in drawn.results.values) == (n_kept >= 4)


def test_the_effective_number_is_told_by_the_gradient() -> None:
    kernel = MALA(step_size=0.3)
    found = draw(harmonic, kernel, torch.randn(50, 2, generator=seeded()), 400, 0, seeded(1)).results.values
    gradients = 50 * kernel.evaluations(8 * THIN).grad
    assert found["sampler/ess_per_grad"] == pytest.approx(found["sampler/ess_bulk"] / gradients, rel=1e-12)
    assert math.isfinite(found["sampler/ess_per_second"])


def test_the_effective_number_is_told_by_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter((100.0, 350.0))
    monkeypatch.setattr(model_samples, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    found = draw(
        harmonic, MALA(step_size=0.3), torch.randn(50, 2, generator=seeded()), 400, 0, seeded(1)
    ).results.values
    assert found["sampler/ess_per_second"] == pytest.approx(found["sampler/ess_bulk"] / 250, rel=1e-12)


@pytest.mark.parametrize("burn_in", [0, 1])
def test_a_burn_in_finds_the_step_size_and_none_keeps_it(burn_in: int) -> None:
    kernel = replace(MALA(), step_size=0.3)
    found = draw(harmonic, kernel, torch.randn(5, 2, generator=seeded()), 5, burn_in, seeded(1)).results.values
    assert (found["sampler/step_size"] == 0.3) == (burn_in == 0)
