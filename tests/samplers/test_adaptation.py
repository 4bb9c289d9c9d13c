"""Step-size adaptation, and burn-in."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ebm_cli.samplers import Kernel, adapt, run, warm_up
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from ebm_cli.samplers.metropolis import Metropolis
from ebm_cli.samplers.underdamped import Underdamped
from ebm_cli.selftest.invariance import harmonic
from tests.samplers.targets import name_of
from tests.support import normal, seeded


def flat(x: Tensor) -> Tensor:
    return 0 * x.sum(1)


@pytest.mark.parametrize("factor", [0.02, 20.0])
@pytest.mark.parametrize("kernel", [MALA(), HMC(n_leapfrog=4), Metropolis()], ids=name_of)
def test_adapt_reaches_the_target_rate_of_the_kernel(kernel: Kernel, factor: float) -> None:
    scales = torch.linspace(0.5, 2.0, 5, dtype=torch.float64)

    def energy(x: Tensor) -> Tensor:
        return harmonic(x / scales)

    start = replace(kernel, step_size=factor * kernel.step_size)
    adapted, state = adapt(start, energy, scales * normal(400, 5), 200, seeded())
    assert adapted == replace(kernel, step_size=adapted.step_size)
    _, info = run(adapted, energy, state.x, 100, seeded())
    assert float(info.accept.mean()) == pytest.approx(kernel.target_accept, abs=0.03)


def test_adapt_reaches_a_given_rate() -> None:
    adapted, state = adapt(MALA(), harmonic, normal(400, 5), 200, seeded(), target=0.8)
    assert float(run(adapted, harmonic, state.x, 100, seeded())[1].accept.mean()) == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("n_steps", [1, 6])
def test_adapt_is_dual_averaging(n_steps: int) -> None:
    """If every step is accepted, the mean error after m steps is m (δ − 1)/(m + 10), and eq. (6) is a sum."""

    def averaged(log_eps: float, mu: float, gamma: float, n: int) -> float:
        for m in range(1, n + 1):
            found = mu - math.sqrt(m) / gamma * (0.97 - 1) * m / (m + 10)
            log_eps = m**-0.75 * found + (1 - m**-0.75) * log_eps
        return log_eps

    half = n_steps // 2
    coarse = averaged(math.log(0.3), math.log(3.0), 0.05, half)
    expected = averaged(coarse, coarse, 0.5, n_steps - half)
    adapted, _ = adapt(Metropolis(step_size=0.3), flat, normal(4, 2), n_steps, seeded(), target=0.97)
    assert math.log(adapted.step_size) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "kernel",
    [MALA(), Underdamped(energy_error=1e-3), Underdamped(energy_error=1e-3, test_every=2)],
    ids=["a test", "an energy error", "both"],
)
def test_adapt_follows_a_schedule_in_its_first_half(kernel: Kernel) -> None:
    seen: list[int] = []

    def schedule(step: int) -> dict[str, float]:
        seen.append(step)
        return {"temperature": 2.0}

    adapt(kernel, harmonic, normal(4, 2), 7, seeded(), schedule=schedule)
    assert seen == [0, 1, 2]


def test_adapt_stays_finite_on_a_flat_energy() -> None:
    adapted, _ = adapt(Metropolis(), flat, normal(1, 1), 2800, seeded(), target=0.01)
    assert math.isfinite(adapted.step_size)


@pytest.mark.parametrize("kernel", [Langevin(), Underdamped()], ids=name_of)
def test_adapt_refuses_a_kernel_without_a_correction(kernel: Kernel) -> None:
    with pytest.raises(ValueError, match="has no acceptance rate"):
        adapt(kernel, harmonic, normal(4, 2), 10, seeded(), target=0.5)


@pytest.mark.parametrize(
    ("n_steps", "target", "message"), [(10, 1.0, "^target must be in"), (0, None, "^n_steps must")]
)
def test_adapt_refuses_numbers_out_of_range(n_steps: int, target: float | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        adapt(MALA(), harmonic, normal(4, 2), n_steps, seeded(), target)


def test_warm_up_adapts_a_kernel_with_a_target_rate() -> None:
    x = normal(8, 2)
    kernel, state = warm_up(MALA(), harmonic, x, 6, seeded())
    expected, end = adapt(MALA(), harmonic, x, 6, seeded())
    assert kernel == expected
    assert torch.equal(state.x, end.x)


@pytest.mark.parametrize(("kernel", "n_steps"), [(Langevin(), 6), (MALA(), 0)], ids=["langevin", "no_step"])
def test_warm_up_otherwise_runs_the_kernel_as_it_is(kernel: Kernel, n_steps: int) -> None:
    x = normal(8, 2)
    same, state = warm_up(kernel, harmonic, x, n_steps, seeded())
    assert same is kernel
    assert torch.equal(state.x, run(kernel, harmonic, x, n_steps, seeded())[0].x)
