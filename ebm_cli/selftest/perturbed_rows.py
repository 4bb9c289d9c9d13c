"""Known values of the objectives that compare rows with perturbed ones, on the rows of `gaussian_case`.

ed      log((w + M)/M) where the energy is constant; for M = 1 a Gaussian expectation, by quadrature; for many
        perturbations ED_t = E_p f − E f_t, the blur of a Gaussian energy of precision P being
        f_t(y) = ½ (y − m)ᵀ(P⁻¹ + tI)⁻¹(y − m) + ½ log det(I + tP)
cnce    2 log 2 where the energy is constant; elsewhere a Gaussian expectation, by quadrature
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ebm_cli.energies import Quadratic
from ebm_cli.energies.given import Given
from ebm_cli.methods.cnce import CNCE
from ebm_cli.methods.ed import ED
from ebm_cli.selftest.gaussian_case import gaussian_energy, losses, mean_fact
from ebm_cli.selftest.harness import Fact, Harness
from ebm_cli.selftest.tolerances import RELATIVE, relative_error

N_NODES = 60
"""Gauss–Hermite nodes in each of the two dimensions."""
MANY, FEW_ROWS = 1_000, 64
"""Perturbations of a row, and rows, where the mean over perturbations stands for its expectation: its bias is an eighth
of the standard error."""


def discrepancy_facts(harness: Harness, name: str, method: ED, rows: Tensor) -> Iterator[Fact]:
    """The facts about energy discrepancy."""
    rng = harness.rng(f"methods/{name}/known")
    method.whitening = None
    flat = Given(lambda x: 0 * x.sum(1) + 0.3, (2,))
    expected = rows.new_tensor(math.log((method.w + method.n_perturbations) / method.n_perturbations))
    found = method.loss(flat, rows, rng).loss
    yield Fact("constant energy", relative_error(found, expected), RELATIVE, "relative")
    energy = gaussian_energy(rows, scale=1.5, shift=0.4)
    method.w, method.n_perturbations = 0.7, 1

    def term(gap: Tensor) -> Tensor:
        return torch.log(0.7 + torch.exp(gap))

    exact = _expectation(energy, rows, math.sqrt(2 * method.t), term)
    yield mean_fact("one perturbation", losses(method, energy, rows, rng), exact)
    method.w, method.n_perturbations = 1.0, MANY
    few = rows[:FEW_ROWS]
    yield mean_fact("many perturbations", losses(method, energy, few, rng), _discrepancy(energy, few, method.t))


def conditional_facts(harness: Harness, name: str, method: CNCE, rows: Tensor) -> Iterator[Fact]:
    """The facts about conditional noise contrastive estimation."""
    rng = harness.rng(f"methods/{name}/known")
    method.whitening = None
    flat = Given(lambda x: 0 * x.sum(1) + 0.3, (2,))
    found = method.loss(flat, rows, rng).loss
    yield Fact("constant energy", relative_error(found, rows.new_tensor(2 * math.log(2))), RELATIVE, "relative")
    method.eps_least = None
    energy = gaussian_energy(rows, scale=1.5, shift=0.4)
    exact = _expectation(energy, rows, method.eps, lambda gap: 2 * F.softplus(gap))
    yield mean_fact("elsewhere", losses(method, energy, rows, rng), exact)


def _expectation(energy: Quadratic, rows: Tensor, scale: float, term: Callable[[Tensor], Tensor]) -> float:
    """Mean over the rows of E_z term(f(x) − f(x + scale z)), z ~ N(0, I), by quadrature."""
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.hermite_e.hermegauss(N_NODES))
    z, w = torch.cartesian_prod(nodes, nodes), torch.outer(weights, weights).flatten() / (2 * math.pi)
    with torch.no_grad():
        at = energy((rows[:, None] + scale * z).flatten(0, 1)).view(len(rows), -1)
        return float((term(energy(rows)[:, None] - at) @ w).mean())


def _discrepancy(energy: Quadratic, rows: Tensor, t: float) -> float:
    """ED_t of the rows, in closed form."""
    p, eye = energy.precision.detach(), torch.eye(2, dtype=rows.dtype)
    blurred = torch.linalg.inv(torch.linalg.inv(p) + t * eye)
    centred = rows - energy.mean.detach()
    squares = centred.T @ centred / len(rows)
    of_blur = 0.5 * (blurred @ (squares + t * eye)).trace() + 0.5 * torch.logdet(eye + t * p)
    return float(0.5 * (p @ squares).trace() - of_blur)
