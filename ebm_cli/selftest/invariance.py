"""Test harness for samplers: a kernel leaves its target distribution invariant.

Chains start at exact, independent samples of the target. A kernel that leaves the target invariant maps exact samples
to exact samples, so the positions of all chains after any number of steps are exact and independent again. A short
chain is therefore enough, without burn-in, and the tolerance is a number of standard errors. A chain that stands still
also keeps every distribution; its memory of the start has to be measured beside it.

`ebm check` and the tests of the samplers share this definition. A test of your own kernel takes ten lines:

    import torch
    from ebm_cli.selftest.invariance import gaussian_deviation, harmonic, invariance

    def test_my_kernel_leaves_a_gaussian_invariant():
        rng = torch.Generator().manual_seed(0)
        start = torch.randn(10_000, 2, generator=rng, dtype=torch.float64)
        fact, end = invariance(MyKernel(step_size=0.5), harmonic, start, gaussian_deviation(1.0), rng)
        assert fact.holds, fact                     # mean and variance within 5 standard errors
        assert (start * end).mean() < 0.9           # and the chains have moved

`ebm_cli.selftest.samplers.kernel_facts(MyKernel(0.5))` yields everything that `ebm check` measures of a sampler:

    assert failures(kernel_facts(MyKernel(0.5))) == []
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ebm_cli.samplers import EnergyFn, Kernel, State, run
from ebm_cli.selftest.harness import Fact
from ebm_cli.selftest.tolerances import SIGMAS, standard_errors

N_STEPS = 20

Deviation = Callable[[Tensor], float]
"""Independent points x [N, *D] → their deviation from a distribution in standard errors; its 5 σ bound is `SIGMAS`."""


def invariance(
    kernel: Kernel,
    energy: EnergyFn,
    start: Tensor | State,
    deviation: Deviation,
    rng: torch.Generator,
    n_steps: int = N_STEPS,
    what: str = "distribution",
) -> tuple[Fact, Tensor]:
    """Run chains from exact samples of the target and measure whether their last positions are exact samples, too.

    Args:
        kernel: the transition; its target is exp(−energy / kernel.temperature), or the distribution that the kernel
            keeps in its place if it has no correction.
        energy: x [N, *D] → [N], nats.
        start: exact, independent samples of the target [N, *D]; of a tempered kernel, the state of chains whose every
            replica is one.
        deviation: of points from the target, in standard errors.
        rng: of the chains, on the device of `start`.
        n_steps: length of the chains, ≥ 1.
        what: name of the fact.

    Returns:
        The fact that the deviation of the last positions is at most `SIGMAS`, and the last positions [N, *D].
    """
    end = run(kernel, energy, start, n_steps, rng)[0].x
    return Fact(what, deviation(end), SIGMAS, "std. errors"), end


def gaussian_deviation(variance: float) -> Deviation:
    """Deviation from N(0, variance · I): the largest over the means of x_i and x_i²."""

    def deviation(x: Tensor) -> float:
        points = x.flatten(1)
        # To the CPU first: not every device has float64.
        moments = torch.cat((points, points.square()), 1).cpu().double()
        expected = moments.new_tensor([0.0] * points.shape[1] + [variance] * points.shape[1])
        return standard_errors(moments, expected)

    return deviation


def harmonic(x: Tensor) -> Tensor:
    """Energy of N(0, I): ½‖x‖²."""
    return 0.5 * x.flatten(1).square().sum(1)
