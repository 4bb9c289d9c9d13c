"""The same network for every library: our energy, and its weights in torchebm, in JAX and as matrix products.

No network here has a Gaussian base, which not all libraries have.
"""

import copy
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import Tensor, nn
from torchebm.core import BaseModel

from ebm_cli.acceleration import attach_native_code
from ebm_cli.derivatives import Compiled
from ebm_cli.energies.mlp import MLP

from .harness import Agreement

Weights = list[tuple[Any, Any]]
"""(W [n_in, n_out], b [n_out]) of each layer, as JAX multiplies them."""

JAX_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {"softplus": jax.nn.softplus, "silu": jax.nn.silu}
"""The activations of JAX."""


def mlp(size: int, width: int, depth: int, activation: str, seed: int = 0) -> MLP:
    """Our energy with layers D-width-…-1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MLP((size,), width, depth, activation, base=0.0)


def widths(energy: MLP) -> list[int]:
    """Sizes of the layers: D, width, …, 1."""
    linears = _linears(energy)
    return [linears[0].in_features, *(linear.out_features for linear in linears)]


def points(n: int, size: int, seed: int = 1) -> Tensor:
    """Standard normal rows."""
    return torch.randn(n, size, generator=generator(seed))


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plain(energy: MLP) -> nn.Sequential:
    """The network of torch's own layers, [B, D] → [B, 1]; it shares the weights of the energy."""
    layers: list[nn.Module] = []
    for layer in energy.network:
        if isinstance(layer, nn.Linear):
            weight, bias = layer.weight, layer.bias
            layer = nn.Linear(layer.in_features, layer.out_features)
            layer.weight, layer.bias = weight, bias
        layers.append(layer)
    return nn.Sequential(*layers)


class Torchebm(BaseModel):
    """The weights of our energy in torch's own layers, with the interface that torchebm expects of a model."""

    def __init__(self, energy: MLP) -> None:
        super().__init__()
        self.network = plain(energy)

    def forward(self, x: Tensor) -> Tensor:
        value: Tensor = self.network(x).squeeze(-1)
        return value


def native(energy: MLP) -> MLP:
    """The same energy with the same weights, whose chains and training steps run in native code.

    Raises:
        RuntimeError: the native code cannot be built.
    """
    other = copy.copy(energy)
    why = attach_native_code(other, torch.get_num_threads(), has_values=True)
    if why is not None:
        raise RuntimeError(why)
    return other


def compiled(energy: MLP, n_rows: int) -> MLP:
    """The same energy with the same weights, whose derivatives of so many rows are compiled.

    Raises:
        RuntimeError: the compiler fails, when the energy is used first.
    """

    def fail(line: str) -> None:
        raise RuntimeError(line)

    other = copy.copy(energy)
    other.compiled = Compiled(n_rows, torch.float32, torch.device("cpu"), fail)
    return other


def flat(energy: MLP) -> nn.Sequential:
    """`plain`, [B, D] → [B]."""
    return nn.Sequential(plain(energy), nn.Flatten(0))


def weights(energy: MLP) -> Weights:
    """A copy of the weights for JAX."""
    return [(jnp.asarray(layer.weight.detach().numpy().T), jnp.asarray(_bias(layer))) for layer in _linears(energy)]


def jax_energy(activation: str) -> Callable[[Weights, Any], Any]:
    """f(weights, x): x [D] → [] or x [B, D] → [B]."""
    act = JAX_ACTIVATIONS[activation]

    def energy(params: Weights, x: Any) -> Any:
        for w, b in params[:-1]:
            x = act(x @ w + b)
        w, b = params[-1]
        return (x @ w + b)[..., 0]

    return energy


def blocking(call: Callable[[], Any]) -> Callable[[], object]:
    """A function that waits for the result: JAX returns before it has computed."""
    return lambda: jax.block_until_ready(call())


def torch_gradient(energy: nn.Module) -> np.ndarray:
    """The gradients of the parameters in one vector, in the order of JAX's weights."""
    parts = []
    for linear in _linears(energy):
        for parameter, transposed in ((linear.weight, True), (linear.bias, False)):
            # The last bias changes no derivative in x, so that score matching gives it no gradient.
            grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parts.append((grad.T if transposed else grad).reshape(-1))
    return torch.cat(parts).double().numpy()


def jax_gradient(gradient: Weights) -> np.ndarray:
    """The gradients of JAX in one vector."""
    return np.concatenate([np.asarray(part, np.float64).ravel() for layer in gradient for part in layer])


def agreement(what: str, a: Any, b: Any, tolerance: float) -> Agreement:
    """The agreement of two results: ‖a − b‖ / ‖b‖."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return Agreement(what, float(np.linalg.norm(a - b) / np.linalg.norm(b)), tolerance)


# --- the floor --------------------------------------------------------------------------------------------------------

Product = tuple[int, int, int]
"""(m, k, n): a matrix [m, k] times one [k, n]."""


def forward_products(sizes: Sequence[int], rows: int) -> list[Product]:
    """The products of one forward pass of `rows` rows."""
    return [(rows, n_in, n_out) for n_in, n_out in itertools.pairwise(sizes)]


def input_products(sizes: Sequence[int], rows: int) -> list[Product]:
    """The products that carry a cotangent from the output to the input."""
    return [(rows, n_out, n_in) for n_in, n_out in itertools.pairwise(sizes)]


def training_products(sizes: Sequence[int], rows: int) -> list[Product]:
    """The products of a forward pass and of the gradients of the weights; the input needs no cotangent."""
    in_weights = [(n_in, rows, n_out) for n_in, n_out in itertools.pairwise(sizes)]
    return [*forward_products(sizes, rows), *input_products(sizes[1:], rows), *in_weights]


def floor(products: Sequence[Product]) -> Callable[[], object]:
    """A function that computes only the products, by torch.mm into allocated memory."""
    made = [(torch.randn(m, k), torch.randn(k, n), torch.empty(m, n)) for m, k, n in products]

    def call() -> None:
        for a, b, out in made:
            torch.mm(a, b, out=out)

    return call


def _linears(module: nn.Module) -> list[nn.Linear]:
    return [part for part in module.modules() if isinstance(part, nn.Linear)]


def _bias(layer: nn.Linear) -> np.ndarray:
    found: np.ndarray = layer.bias.detach().numpy()
    return found
