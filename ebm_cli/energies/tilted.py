"""The best simple density of the data, bent by a network."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ebm_cli.densities import Density, Reference
from ebm_cli.densities.reference import Family
from ebm_cli.densities.reference_candidates import Marginals
from ebm_cli.derivatives import Differentiable, Jet, Pullback, sweep
from ebm_cli.energies.activations import Activation
from ebm_cli.energies.base import Energy
from ebm_cli.energies.initialisation import require_size
from ebm_cli.energies.mlp import MLP
from ebm_cli.energies.reference_inputs import ReferenceInputs


class Tilted(Energy, Differentiable):
    """f(x) = g(u(x)) − log q(x): a fitted density q, tilted by exp(−g).

    q is the reference, fitted to the data and not trained; g is a perceptron whose last layer starts at 0. Training
    therefore starts at q, with log Z = 0, and learns only what q misses: mode weights and tails are those of q unless
    the data say otherwise. u has a point's own coordinates and its place within the components of q, all of them
    bounded (`ReferenceInputs`): so is g, exp(−f) decays as q does, and Z = E_q[exp(−g)] is finite.

    Args:
        shape: shape of one point.
        data: rows [N, *shape] that q and u are fitted to, standardised units. Without them both are those of N(0, I),
            until a state is loaded.
        reference: family of q: auto takes the one that predicts rows best which it was not fitted to (`Reference`).
        marginals: transform of each coordinate under q: auto, none, sinh_arcsinh.
        width: units of each hidden layer of g, ≥ 1.
        depth: hidden layers, ≥ 1.
        activation: of g; sm and ssm need a smooth one.
        input_scale: s > 0, initial standard deviation of the first layer's inputs to its activation.
        bound: robust standard deviations of a coordinate around which u levels off, > 0; None gives g the points
            themselves, and nothing bounds it.

    Shapes: x [B, *shape] → [B].  Raises: ValueError if a number is out of range.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        data: Tensor | None = None,
        reference: Family = "auto",
        marginals: Marginals = "auto",
        width: int = 128,
        depth: int = 2,
        activation: Activation = "silu",
        input_scale: float = 2.0,
        bound: float | None = 5.0,
    ) -> None:
        super().__init__()
        require_size(width, depth, input_scale)
        self.shape = shape
        self.register_load_state_dict_pre_hook(_split_gaussian)  # type: ignore[no-untyped-call]
        self.density = Reference(data, shape=shape, family=reference, marginals=marginals)
        self.inputs = None if bound is None else ReferenceInputs(self.density, data, bound)
        n_inputs = math.prod(shape) if self.inputs is None else self.inputs.n_outputs
        self.tilt = MLP((n_inputs,), width, depth, activation, base=0.0, input_scale=input_scale)
        *_, last = self.tilt.network.children()
        for parameter in last.parameters():
            nn.init.zeros_(parameter)

    @property
    def reference(self) -> Density | None:
        return None if self.inputs is None else self.density

    def forward(self, x: Tensor) -> Tensor:
        tilt: Tensor = self.tilt(x.flatten(1) if self.inputs is None else self.inputs(self.density, x.flatten(1)))
        return tilt - self.density.log_prob(x)

    def ruled_children(self) -> Iterable[nn.Module]:
        return [self.tilt]

    def sweep(self, jet: Jet) -> tuple[Jet, Pullback]:
        """Derivative rule: the rule of g and u, minus the derivatives of log q."""
        x = jet.value.flatten(1)
        v = None if jet.first is None else jet.first.flatten(2)
        second_in = None if jet.second is None else jet.second.flatten(1)
        out, through = self._tilt(Jet(x, v, second_in, jet.needs_first))
        log_q, grad, curvature = self.density.differentials(x, v)
        first, second = out.first, out.second
        if v is not None:
            assert curvature is not None
            if first is not None:
                first = first - (grad * v).sum(2)
            second = -curvature if second is None else second - curvature
        if second_in is not None:
            along = (grad * second_in).sum(1)
            second = -along if second is None else second - along

        def pullback(g: Tensor) -> Tensor:
            return (through(g) - g.unsqueeze(1) * grad).view(jet.value.shape)

        return Jet(out.value - log_q, first, second), pullback

    def _tilt(self, jet: Jet) -> tuple[Jet, Pullback]:
        """The rules of u, and of g after it, for flat points: the jet [B], [K, B], [B], and its pullback."""
        seen, back = (jet, _identity) if self.inputs is None else self.inputs.sweep(self.density, jet)
        # The network itself: the rule of an energy takes points without a second derivative.
        out, through = sweep(self.tilt.network, seen._replace(needs_first=jet.needs_first))
        value, first, second = (None if part is None else part.squeeze(-1) for part in out[:3])
        assert value is not None
        return Jet(value, first, second), lambda g: back(through(g.unsqueeze(1)))


def _split_gaussian(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Rename the Gaussian in states of 1b2473a and later, whose energy had its moments itself."""
    if f"{prefix}whiten" in state:
        mean, whiten, log_norm = (state.pop(f"{prefix}{name}") for name in ("mean", "whiten", "log_norm"))
        factor = torch.linalg.inv(whiten.double()).tril().to(whiten)
        parts = {"means": mean, "factors": factor, "whiten": whiten, "log_norm": log_norm, "weights": mean.new_ones(())}
        state |= {f"{prefix}density.fitted.{name}": value.unsqueeze(0) for name, value in parts.items()}
        state[f"{prefix}density.structure"] = torch.tensor([False, False])


def _identity(g: Tensor) -> Tensor:
    return g
