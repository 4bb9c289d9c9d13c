"""Chains of several runs as one batch move as those of each run, by its random numbers and with its step size."""

import pytest
import torch
from torch import Tensor

from ebm_cli.rng import Streams
from ebm_cli.samplers import Kernel, run
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from tests.support import normal, seeded

FACTORS = [0.25, 1.0]


def quartic(x: Tensor) -> Tensor:
    return x.pow(4).sum(1)


def blocks() -> Tensor:
    return normal(2, 50, 3).double()


@pytest.mark.parametrize(
    ("kernel", "factors"), [(MALA(0.1), FACTORS), (MALA(0.1), [0.5, 0.5]), (Langevin(0.01), [1, 1])]
)
def test_chains_of_runs_are_those_of_each_run(kernel: Kernel, factors: list[float]) -> None:
    x = blocks()
    together = kernel.of_runs(factors, x.flatten(0, 1))
    assert together is not None
    streams = Streams.of([seeded(1), seeded(2)])
    before = streams.get_state()
    state, info = run(together, quartic, x.flatten(0, 1), 10, streams)
    for i, factor in enumerate(factors):
        own = MALA(0.1 * factor) if isinstance(kernel, MALA) else kernel
        rng = seeded(1 + i)
        truth, diagnostics = run(own, quartic, x[i], 10, rng)
        assert (state.x.chunk(2)[i] - truth.x).abs().max() < 1e-13
        assert (info.accept.chunk(2)[i] - diagnostics.accept).abs().max() < 1e-13
        assert torch.equal(streams.each[i].get_state(), rng.get_state())
        # The control: the numbers of the other run.
        other, _ = run(own, quartic, x[i], 10, seeded(2 - i))
        assert (state.x.chunk(2)[i] - other.x).abs().max() > 0.1
    assert torch.equal(streams.get_state(), before)


def test_kernels_without_a_form_for_several_runs_have_none() -> None:
    x = blocks().flatten(0, 1)
    assert HMC().of_runs([1.0, 1.0], x) is None
    # Its step size has no factor of a chain: no Metropolis test asks for one.
    assert Langevin().of_runs(FACTORS, x) is None
