"""A fitted Gaussian with a correction by a network."""

import math

import torch
from torch import Tensor, nn

from ebm_cli.densities.moments import Moments
from ebm_cli.derivatives import Differentiable, Jet, Pullback, sweep
from ebm_cli.energies.activations import Activation
from ebm_cli.energies.base import Energy
from ebm_cli.energies.initialisation import require_size
from ebm_cli.energies.mlp import MLP


class Tilted(Energy, Differentiable):
    """f(x) = g(x) − log N(x; m, S): the fitted Gaussian, tilted by exp(−g).

    m and S are those of the data and are not trained; g is a perceptron whose last layer starts at 0, so that training
    starts at the Gaussian, with log Z = 0, and learns only its difference from the data. That suits tables of few rows
    and many columns, which do not determine more.

    Args:
        shape: shape of one point.
        data: rows [N, *shape] that m and S are fitted to, standardised units. None is N(0, I), until a state with m
            and S is loaded.
        width: units of each hidden layer of g, ≥ 1.
        depth: hidden layers, ≥ 1.
        activation: of g; sm and ssm need a smooth one.
        input_scale: s > 0, initial standard deviation of the first layer's inputs to its activation.

    Shapes: x [B, *shape] → [B].  Raises: ValueError if a number is out of range.
    """

    mean: Tensor
    whiten: Tensor
    log_norm: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        data: Tensor | None = None,
        width: int = 32,
        depth: int = 1,
        activation: Activation = "silu",
        input_scale: float = 1.0,
    ) -> None:
        super().__init__()
        require_size(width, depth, input_scale)
        self.shape = shape
        self.tilt = MLP(shape, width, depth, activation, base=0.0, input_scale=input_scale)
        *_, last = self.tilt.network.children()
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        fit = Moments.standard(math.prod(shape)) if data is None else Moments.from_rows(data.cpu())
        for name, value in {"mean": fit.mean, "whiten": fit.whiten(), "log_norm": fit.log_norm()}.items():
            self.register_buffer(name, value.to(torch.get_default_dtype()))

    def forward(self, x: Tensor) -> Tensor:
        z = (x.flatten(1) - self.mean) @ self.whiten.T
        tilt: Tensor = self.tilt(x)
        return tilt + 0.5 * z.square().sum(1) - self.log_norm

    def sweep(self, jet: Jet) -> tuple[Jet, Pullback]:
        """Derivative rule: the sum of the rules of g and of a quadratic form."""
        x, whiten = jet.value, self.whiten
        z = (x.flatten(1) - self.mean) @ whiten.T
        out, through = sweep(self.tilt, jet)
        value, first, second = out.value + 0.5 * z.square().sum(1) - self.log_norm, out.first, out.second
        if jet.first is not None:
            w = jet.first.flatten(2) @ whiten.T
            bent, slope = w.square().sum(2).sum(0), (w * z).sum(2)
            first = slope if first is None else first + slope
            second = bent.expand_as(value) if second is None else second + bent

        def pullback(g: Tensor) -> Tensor:
            return through(g) + ((g.unsqueeze(1) * z) @ whiten).view(x.shape)

        return Jet(value, first, second), pullback
