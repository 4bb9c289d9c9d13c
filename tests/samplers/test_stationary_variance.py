"""The variance that each kernel states to keep on a Gaussian, against its fixed point in closed form."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.linalg import solve_discrete_lyapunov
from torch import Tensor

from ebm_cli.derivatives import value_and_grad
from ebm_cli.samplers import Kernel, State, underdamped
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from ebm_cli.samplers.metropolis import Metropolis
from ebm_cli.samplers.underdamped import Underdamped


@pytest.mark.parametrize("kernel", [MALA(0.3), HMC(0.5), Metropolis(1.0)], ids=lambda k: type(k).__name__)
def test_corrected_kernels_state_the_variance_of_the_target(kernel: Kernel) -> None:
    assert replace(kernel, temperature=3.0).stationary_variance(0.5) == 1.5


@pytest.mark.parametrize("noise_scale", [0.0, 0.7, 1.0])
def test_langevin_states_the_fixed_point_of_its_step(noise_scale: float) -> None:
    kernel = Langevin(0.3, temperature=2.0, noise_scale=noise_scale)
    variance = kernel.stationary_variance(0.5)
    assert variance is not None
    after = (1 - 0.3 / 0.5) ** 2 * variance + 2 * 0.3 * 2.0 * noise_scale**2
    assert after == pytest.approx(variance, rel=1e-12)
    assert Langevin(1.0).stationary_variance(0.5) == math.inf
    assert Langevin(0.3, clamp_grad=1.0).stationary_variance(0.5) is None
    assert Langevin(0.3, clamp_sample=1.0).stationary_variance(0.5) is None


@pytest.mark.parametrize("eps", [0.2, 1.0, 1.4, 1.6])
def test_underdamped_variance_solves_its_lyapunov_equation(eps: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a Gaussian a step is linear, s' = A s + b z with s = (x, v); its covariance solves S = A S Aᵀ + b bᵀ."""
    variance, temperature = 0.5, 2.0
    kernel = Underdamped(eps, temperature, friction=0.8)

    def energy(x: Tensor) -> Tensor:
        return x.square().sum(1) / (2 * variance)

    def image(x: float, v: float, z: float) -> list[float]:
        at = torch.tensor([[x]], dtype=torch.float64)
        monkeypatch.setattr(underdamped, "normal_like", lambda like, rng: torch.full_like(like, z))
        state = State(at, *value_and_grad(energy, at), {"velocity": torch.full_like(at, v)})
        after, _ = kernel.step(energy, state, torch.Generator())
        return [after.x.item(), after.aux["velocity"].item()]

    a = np.array([image(1.0, 0.0, 0.0), image(0.0, 1.0, 0.0)]).T
    b = np.array(image(0.0, 0.0, 1.0))
    stable = max(abs(np.linalg.eigvals(a))) < 1
    assert stable == (eps < 2 * math.sqrt(variance))
    expected = solve_discrete_lyapunov(a, np.outer(b, b))[0, 0] if stable else math.inf
    assert kernel.stationary_variance(variance) == pytest.approx(expected, rel=1e-9)
