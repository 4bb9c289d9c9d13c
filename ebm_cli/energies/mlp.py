"""A multilayer perceptron as an energy."""

import itertools
import math

from torch import nn

from ebm_cli.derivatives import Linear
from ebm_cli.energies.activations import ACTIVATIONS, Activation
from ebm_cli.energies.base import NetworkEnergy
from ebm_cli.energies.initialisation import initialise, require_size


class MLP(NetworkEnergy):
    """f(x) = w·h_L + b + ½ κ‖x‖²,   h_l = σ(W_l h_{l−1} + b_l),   h_0 = x.

    Args:
        shape: shape of one point; points are flattened.
        width: units of each hidden layer, ≥ 1.
        depth: hidden layers, ≥ 1.
        activation: σ; sm and ssm need a smooth one.
        base: κ ≥ 0, the Gaussian base in inverse squared standardised units.
        input_scale: s > 0, initial standard deviation of the first layer's inputs to σ on standardised data.

    Shapes: x [B, *shape] → [B].  Raises: ValueError if a number is out of range.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        width: int = 128,
        depth: int = 2,
        activation: Activation = "silu",
        base: float = 0.2,
        input_scale: float = 3.0,
    ) -> None:
        require_size(width, depth, input_scale)
        widths = [math.prod(shape), *[width] * depth]
        linears = [Linear(n_in, n_out) for n_in, n_out in itertools.pairwise(widths)]
        initialise(linears[0], linears[1:], input_scale)
        layers = [layer for linear in linears for layer in (linear, ACTIVATIONS[activation]())]
        super().__init__(shape, nn.Sequential(*layers, nn.Linear(width, 1)), base)
