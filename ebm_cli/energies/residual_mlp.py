"""A residual network of fully connected blocks as an energy."""

import math

from torch import Tensor, nn

from ebm_cli.derivatives import Differentiable, Jet, Linear, Pullback, ValueAndPullback, VjpFn, sweep, vjp
from ebm_cli.energies.activations import ACTIVATIONS, Activation
from ebm_cli.energies.base import NetworkEnergy
from ebm_cli.energies.initialisation import initialise, require_size


class Residual(Differentiable, nn.Module):
    """h ↦ h + block(h), a residual block with its derivative rules. Source: He et al. (2016)."""

    def __init__(self, block: nn.Sequential) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.block(x)
        return out

    def sweep(self, jet: Jet) -> tuple[Jet, Pullback]:
        """Derivative rule: jets are added, and the skip passes the cotangent unchanged."""
        out, through = sweep(self.block, jet)
        return Jet(
            jet.value + out.value, _sum(jet.first, out.first), _sum(jet.second, out.second)
        ), lambda g: g + through(g)

    def vjp(self) -> VjpFn:
        """Derivative rule for jets without directions."""
        block = vjp(self.block)

        def at(x: Tensor) -> ValueAndPullback:
            out, through = block(x)
            return lambda: x + out(), lambda g: g + through(g)

        return at


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b


class ResidualMLP(NetworkEnergy):
    """f(x) = w·h_L + b + ½ κ‖x‖²,   h_l = h_{l−1} + V_l σ(W_l h_{l−1} + b_l) + c_l,   h_0 = σ(W x + b).

    Args:
        shape: shape of one point; points are flattened.
        width: units of the residual stream and of the hidden layer of each block, ≥ 1.
        depth: residual blocks, ≥ 1.
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
        sigma = ACTIVATIONS[activation]
        blocks = [Residual(nn.Sequential(Linear(width, width), sigma(), Linear(width, width))) for _ in range(depth)]
        first = Linear(math.prod(shape), width)
        initialise(first, [], input_scale)
        # The last activation of the stream makes the read-out of the last block nonlinear.
        super().__init__(shape, nn.Sequential(first, sigma(), *blocks, sigma(), nn.Linear(width, 1)), base)
