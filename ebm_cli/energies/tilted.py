"""The best simple density of the data, bent by a network."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ebm_cli.densities import Density, Reference
from ebm_cli.densities.reference import Family
from ebm_cli.densities.reference_candidates import Marginals
from ebm_cli.derivatives import Differentiable, Jet, Pullback, ValueAndPullback, VjpFn, sweep, vjp
from ebm_cli.energies.activations import Activation
from ebm_cli.energies.base import Energy
from ebm_cli.energies.column_tails import ColumnTails
from ebm_cli.energies.component_scales import ComponentScales
from ebm_cli.energies.initialisation import require_size
from ebm_cli.energies.mlp import MLP
from ebm_cli.energies.reference_inputs import ReferenceInputs, Seen


class Tilted(Energy, Differentiable):
    """f(x) = g(u(x)) − log q(x): a fitted density q, tilted by exp(−g).

    q is the reference, fitted to the data and not trained; g is a perceptron whose last layer starts at 0. Training
    therefore starts at q, with log Z = 0, and learns only what q misses: mode weights and tails are those of q unless
    the data say otherwise. u has a point's own coordinates and its place within the components of q, all of them
    bounded (`ReferenceInputs`): so is g, exp(−f) decays as q does, and Z = E_q[exp(−g)] is finite. After training,
    the components may get other weights (`ComponentScales`), and steps at the tails of each column may be added to f
    (`ColumnTails`); both are bounded as well.

    Args:
        shape: shape of one point.
        data: rows [N, *shape] that q and u are fitted to, standardised units. Without them both are those of N(0, I),
            until a state is loaded.
        reference: family of q: auto takes the one that predicts rows best which it was not fitted to (`Reference`).
        marginals: monotone map of each coordinate under q: auto, none, sinh_arcsinh, spline.
        width: units of each hidden layer of g, ≥ 1.
        depth: hidden layers, ≥ 1.
        activation: of g; sm and ssm need a smooth one.
        input_scale: s > 0, initial standard deviation of the first layer's inputs to its activation. None is 2/√D: as
            rows of more columns are farther apart, g varies as much between two of them for every D.
        bound: robust standard deviations of a coordinate around which u levels off, > 0; None gives g the points
            themselves, and nothing bounds it.
        calibrate: whether a run on a table ends with a fit of the tails, and after score matching of the components'
            weights (`training.calibration`).

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
        input_scale: float | None = None,
        bound: float | None = 5.0,
        calibrate: bool = True,
    ) -> None:
        super().__init__()
        if input_scale is None:
            input_scale = 2 / math.sqrt(max(1, math.prod(shape)))
        require_size(width, depth, input_scale)
        self.shape = shape
        self.calibrate = calibrate
        self.register_load_state_dict_pre_hook(_split_gaussian)  # type: ignore[no-untyped-call]  # torch has no annotation of it
        self.density = Reference(data, shape=shape, family=reference, marginals=marginals)
        self.inputs = None if bound is None else ReferenceInputs(self.density, data, bound)
        n_inputs = math.prod(shape) if self.inputs is None else self.inputs.n_outputs
        self.tilt = MLP((n_inputs,), width, depth, activation, base=0.0, input_scale=input_scale)
        *_, last = self.tilt.network.children()
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        self.scales = ComponentScales()
        self.tails = ColumnTails(math.prod(shape))

    @property
    def reference(self) -> Density | None:
        return None if self.inputs is None else self.density

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        if self.inputs is None:
            tilt, log_q = self.tilt(flat), self.density.log_prob(x)
        else:
            at = self.density.locate(flat)
            tilt, log_q = self.tilt(self.inputs(flat, at)), at.log_prob
            if not self.scales.is_zero:
                log_q = log_q + self.scales(at.share)
        f: Tensor = tilt - log_q
        return f if self.tails.is_zero else f + self.tails(flat)

    def ruled_children(self) -> Iterable[nn.Module]:
        return [self.tilt]

    def sweep(self, jet: Jet) -> tuple[Jet, Pullback]:
        """Derivative rule: the rule of g and u, minus the derivatives of log q."""
        u, log_q, back = self._seen(jet)
        # The network itself: the rule of an energy takes points without a second derivative.
        out, through = sweep(self.tilt.network, u._replace(needs_first=jet.needs_first))
        first = second = None
        if log_q.first is not None and out.first is not None:
            first = out.first.squeeze(-1) - log_q.first
        if log_q.second is not None:
            second = -log_q.second if out.second is None else out.second.squeeze(-1) - log_q.second

        def pullback(g: Tensor) -> Tensor:
            return back(through(g.unsqueeze(1)), -g).view(jet.value.shape)

        return Jet(out.value.squeeze(-1) - log_q.value, first, second), pullback

    def vjp(self) -> VjpFn:
        """Derivative rule for jets without directions."""
        network = vjp(self.tilt.network)

        def at(x: Tensor) -> ValueAndPullback:
            u, log_q, back = self._seen(Jet(x))
            out, through = network(u.value)
            return lambda: out().squeeze(-1) - log_q.value, lambda g: back(through(g.unsqueeze(1)), -g).view(x.shape)

        return at

    def _seen(self, jet: Jet) -> Seen:
        """The rules of u and of log q, less the tails."""
        first = None if jet.first is None else jet.first.flatten(2)
        second = None if jet.second is None else jet.second.flatten(1)
        flat = Jet(jet.value.flatten(1), first, second)
        seen = self._without_tails(jet, flat)
        return seen if self.tails.is_zero else _less(self.tails, flat, seen)

    def _without_tails(self, jet: Jet, flat: Jet) -> Seen:
        """The rules of u and of log q, for a jet of points and the same one of flat points."""
        first, second = flat.first, flat.second
        if self.inputs is not None and self.density.flow is None:
            return self.inputs.sweep(self.density, flat, None if self.scales.is_zero else self.scales)
        log_q, grad, bent = self.density.differentials(jet.value, jet.first)
        grad = grad.flatten(1)
        if bent is not None and second is not None:
            bent = bent + (grad * second).sum(1)
        along = None if first is None else (grad * first).sum(2)
        of_q = Jet(log_q, along, bent)
        if self.inputs is None:
            return flat, of_q, lambda on_u, g: on_u + g.unsqueeze(1) * grad
        # A flow does not follow from the place of a point.
        u, _, back = self.inputs.sweep(self.density, flat)
        return u, of_q, lambda on_u, g: back(on_u, torch.zeros_like(g)) + g.unsqueeze(1) * grad


def _less(tails: ColumnTails, flat: Jet, seen: Seen) -> Seen:
    """The rules of u and of log q − g, g the steps at the tails."""
    u, log_q, back = seen
    g = tails.slopes(flat.value)
    first, second = log_q.first, log_q.second
    if flat.first is not None:
        bent = (g.second * flat.first.square().sum(0)).sum(1)
        bent = bent if flat.second is None else bent + (g.first * flat.second).sum(1)
        first = None if first is None else first - (g.first * flat.first).sum(2)
        second = None if second is None else second - bent
    return u, Jet(log_q.value - g.value, first, second), lambda on_u, on: back(on_u, on) - on.unsqueeze(1) * g.first


def _split_gaussian(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Rename the Gaussian in states of 1b2473a and later, whose energy had its moments itself."""
    if f"{prefix}whiten" in state:
        mean, whiten, log_norm = (state.pop(f"{prefix}{name}") for name in ("mean", "whiten", "log_norm"))
        factor = torch.linalg.inv(whiten.double()).tril().to(whiten)
        parts = {"means": mean, "factors": factor, "whiten": whiten, "log_norm": log_norm, "weights": mean.new_ones(())}
        state |= {f"{prefix}density.fitted.{name}": value.unsqueeze(0) for name, value in parts.items()}
        state[f"{prefix}density.structure"] = torch.tensor([False, False])
