"""A residual network of fully connected blocks as an energy."""

import math

from torch import Tensor, nn

from ebm_cli.derivatives import Differentiable, Jet, Linear, Pullback, ValueAndPullback, VjpFn, sweep, vjp
from ebm_cli.energies.activations import ACTIVATIONS, Activation
from ebm_cli.energies.base import NetworkEnergy
from ebm_cli.energies.initialisation import check_size, initialise


class Residual(Differentiable, nn.Module):
    """h + block(h): the identity skip of He et al. (2016), with its derivative rules."""

    def __init__(self, block: nn.Sequential) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.block(x)
        return out

    def sweep(self, jet: Jet) -> tuple[Jet, Pullback]:
        """Derivative rule: jets add, and the cotangent passes the skip unchanged."""
        out, through = sweep(self.block, jet)
        return Jet(
            jet.value + out.value, _sum(jet.first, out.first), _sum(jet.second, out.second)
        ), lambda g: g + through(g)

    def vjp(self) -> VjpFn:
        """The rule for jets without directions."""
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
        width: units of the stream and of a block's hidden layer, ≥ 1.
        depth: residual blocks, ≥ 1.
        activation: σ; smooth ones are needed by sm and ssm.
        base: κ ≥ 0, the Gaussian base in inverse squared standardised units.
        input_scale: s > 0, how fast the first layer's features vary over standardised data at the start.

    Shapes: x [B, *shape] → [B].  Raises: ValueError for a number out of its range.
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
        check_size(width, depth, input_scale)
        sigma = ACTIVATIONS[activation]
        blocks = [Residual(nn.Sequential(Linear(width, width), sigma(), Linear(width, width))) for _ in range(depth)]
        first = Linear(math.prod(shape), width)
        initialise(first, [], input_scale)
        # The stream's last activation makes the read-out of a block nonlinear.
        super().__init__(shape, nn.Sequential(first, sigma(), *blocks, sigma(), nn.Linear(width, 1)), base)
