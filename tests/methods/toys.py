"""Toy data and energies of the tests of the methods."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from ebm_cli.energies import MLP, Energy, Quadratic
from ebm_cli.methods import Method
from tests.support import seeded


def correlated(n: int = 2000) -> Tensor:
    """Correlated Gaussian rows [n, 3], float64."""
    mix = torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [-0.3, 0.2, 0.7]], dtype=torch.float64)
    return torch.randn(n, 3, generator=seeded(), dtype=torch.float64) @ mix.T + torch.tensor([1.0, -0.5, 0.2])


def gaussian_energy(precision: Tensor, mean: Tensor) -> Quadratic:
    """½ (x − mean)ᵀ precision (x − mean)."""
    energy = Quadratic(tuple(mean.shape)).to(precision.dtype)
    with torch.no_grad():
        energy.raw_precision.copy_(precision)
        energy.mean.copy_(mean)
    return energy


def mlp(seed: int = 0, shape: tuple[int, ...] = (2,)) -> MLP:
    """A small network with seeded weights, float64."""
    torch.manual_seed(seed)
    return MLP(shape, width=16).double()


def gradient_size(method: Method, energy: Energy, x: Tensor) -> float:
    """Largest component of the gradient of the loss in the parameters of the energy."""
    parameters = list(energy.parameters())
    grads = torch.autograd.grad(method.loss(energy, x, seeded()).loss, parameters)
    return max(float(g.abs().max()) for g in grads)


def minimise(parameters: Iterable[nn.Parameter], loss: Callable[[], Tensor]) -> None:
    """Minimise by L-BFGS to machine precision."""
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=500, line_search_fn="strong_wolfe", tolerance_grad=1e-11, tolerance_change=1e-16
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)  # type: ignore[arg-type]
