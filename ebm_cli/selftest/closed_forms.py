"""Known values of the energies: −log of a density of torch's distributions, or what a part of the energy adds.

quadratic   f + log Z = −log N(x; μ, P⁻¹)
mixture     f = −log Σ w_k N(x; m_k, s² I)
ica         f + log Z = −Σ_i log logistic(w_iᵀx) − log |det W|
tilted      f = −log N(x; m, S) before training on normal rows, with their moments
networks    f − f without its base = ½ κ‖x‖²
sum         of two Gaussians: a product Σ w_k f_k, or a mixture −log Σ w_k exp(−f_k), by value
"""

import copy
import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal

from ebm_cli.derivatives import laplacian, value_and_grad
from ebm_cli.energies import ICA, Energy, Mixture, Quadratic, Sum, Tilted
from ebm_cli.energies.base import NetworkEnergy
from ebm_cli.selftest.harness import Fact, Harness
from ebm_cli.selftest.tolerances import RELATIVE, relative_error

KAPPA = 0.7
"""Weight of the base with which a network energy is compared with itself."""


def value_facts(energy: Energy, x: Tensor) -> Iterator[Fact]:
    """The values of an energy against the density that it is the energy of, where that is known."""
    with torch.no_grad():
        if isinstance(energy, NetworkEnergy):
            yield from _base_facts(energy, x)
            return
        log_z = energy.log_z()
        expected = _minus_log_density(energy, x)
        if expected is not None and log_z is not None:
            yield Fact("value", relative_error(energy(x) + log_z, expected), RELATIVE, "relative")


def _minus_log_density(energy: Energy, x: Tensor) -> Tensor | None:
    """−log p(x) [B] of an energy whose density has a name; None for any other, also for a derived class."""
    flat = x.flatten(1)
    if type(energy) is Quadratic:
        normal = MultivariateNormal(energy.mean, precision_matrix=energy.precision)
        return -torch.as_tensor(normal.log_prob(flat))
    if type(energy) is Mixture:
        parts = Independent(Normal(energy.means, energy.std), 1)
        return -torch.as_tensor(MixtureSameFamily(Categorical(energy.weights), parts).log_prob(flat))
    if type(energy) is ICA:
        # The logistic density is a quarter of the squared hyperbolic secant of s/2.
        log_density = -2 * torch.cosh(0.5 * flat @ energy.weight.T).log() - 2 * math.log(2)
        return -log_density.sum(1) - energy.weight.det().abs().log()
    return None


def _base_facts(energy: NetworkEnergy, x: Tensor) -> Iterator[Fact]:
    """Facts about what the Gaussian base adds to value, gradient and Laplacian: ½ κ‖x‖², κx and κD."""
    with_base, without = copy.deepcopy(energy), copy.deepcopy(energy)
    with_base.base, without.base = KAPPA, 0.0
    flat = x.flatten(1)
    value, grad = (a - b for a, b in zip(value_and_grad(with_base, x), value_and_grad(without, x), strict=True))
    trace = laplacian(with_base, x)[1] - laplacian(without, x)[1]
    error = max(
        relative_error(value, 0.5 * KAPPA * flat.square().sum(1)),
        relative_error(grad, KAPPA * x),
        relative_error(trace, torch.full_like(trace, KAPPA * flat.shape[1])),
    )
    yield Fact("Gaussian base", error, RELATIVE, "relative")


def tilted_facts(harness: Harness, name: str) -> Iterator[Fact]:
    """A tilted density before training is its reference, which by likelihood is a Gaussian for Gaussian rows."""
    rng = harness.rng(f"derivatives/{name}/data")
    rows = torch.randn(200, 2, generator=rng, dtype=torch.float64) @ torch.tensor([[2.0, 0.7], [0.0, 0.5]]).double() + 3
    energy: Tilted = harness.build("energy", name, Tilted, shape=(2,), data=rows).double()
    normal = MultivariateNormal(rows.mean(0), torch.cov(rows.T, correction=0))
    with torch.no_grad():
        found = energy(rows)
    # The moments are kept in float32, with a ridge.
    yield Fact("value before training", relative_error(found, -normal.log_prob(rows)), 1e-2, "relative")


def sum_facts(harness: Harness) -> Iterator[Fact]:
    """A product and a mixture of two Gaussians, whose option needs checkpoints of the user."""
    rng = harness.rng("derivatives/sum")
    x = torch.randn(16, 2, generator=rng, dtype=torch.float64)
    normals = [
        MultivariateNormal(x.new_tensor(m), p * torch.eye(2).double())
        for m, p in (([1.0, 0.0], 0.5), ([0.0, 2.0], 2.0))
    ]
    weights = [0.4, 1.7]

    def member(path: str) -> Energy:
        normal = normals[int(path)]
        energy = Quadratic((2,)).double()
        with torch.no_grad():
            energy.mean.copy_(normal.mean)
            energy.raw_precision.copy_(torch.as_tensor(normal.precision_matrix))
        return energy

    log_p = torch.stack([normal.log_prob(x) - normal.log_prob(normal.mean) for normal in normals])
    w = x.new_tensor(weights)[:, None]
    kinds: dict[Literal["product", "mixture"], Tensor] = {
        "product": -(w * log_p).sum(0),
        "mixture": -(w * log_p.exp()).sum(0).log(),
    }
    for kind, expected in kinds.items():
        energy = Sum((2,), ["0", "1"], member, kind, weights).double()
        yield Fact(f"value, {kind}", relative_error(energy(x), expected), RELATIVE, "relative")
