"""The abstractions of this package: a scalar function of a point, and the one that a network gives.

p_θ(x) = exp(−f_θ(x)) / Z(θ): points of low energy are likely. Z of a bare network need not be finite (it is not if the
network grows slower than log‖x‖ in one direction), so network energies add a wide Gaussian base, ½ κ‖x‖².
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ebm_cli.densities.base import Density
from ebm_cli.derivatives import Differentiable, Jet, Pullback, ValueAndPullback, VjpFn, sweep, vjp


class Energy(nn.Module, ABC):
    """f: R^D → R, in nats.

    Attributes:
        shape: shape of one point, without the batch.
        native: runs its chains in native code, used by `samplers.loops` alone; None for chains in torch.
        native_values: evaluates it in native code, used by `energies.values` alone; None for torch.
        compiled: its derivatives in compiled form, used by `derivatives` alone; None for eager mode.
    """

    shape: tuple[int, ...]
    native: Any = None
    native_values: Any = None
    compiled: Any = None

    @classmethod
    def shape_of(cls, keys: Mapping[str, Any]) -> tuple[int, ...] | None:
        """The shape of a point that follows from the other keys of the constructor; None if none does."""
        return None

    @property
    def reference(self) -> Density | None:
        """A normalised density q with a bounded ratio exp(−f)/q; None where the energy is built on none.

        Then Z = E_q[exp(−f)/q] is finite, and is estimated from draws of q with a finite variance.
        """
        return None

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Evaluate f(x): [B, *shape] → [B]."""

    def log_z(self) -> Tensor | None:
        """log ∫ exp(−f(x)) dx [], nats, differentiable in θ; None if it has no closed form."""
        return None

    def sample(self, n: int, rng: torch.Generator) -> Tensor | None:
        """Draw n exact, independent points of exp(−f)/Z [n, *shape]; None if that takes a chain."""
        return None


class NetworkEnergy(Energy, Differentiable):
    """f(x) = g(x) + ½ κ‖x‖², g a network of one output.

    Args:
        shape: shape of one point.
        network: flat points [B, D] → [B, 1].
        base: κ ≥ 0, in inverse squared standardised units; 0 is the network alone.

    Shapes: x [B, *shape] → [B].  Raises: ValueError if base is negative.
    """

    def __init__(self, shape: tuple[int, ...], network: nn.Module, base: float) -> None:
        super().__init__()
        if base < 0:
            raise ValueError(f"base must be >= 0, got {base}")
        self.shape = shape
        self.network = network
        self.base = base

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        value: Tensor = self.network(flat).squeeze(-1)
        return torch.add(value, flat.square().sum(1), alpha=0.5 * self.base) if self.base else value

    def sweep(self, jet: Jet) -> tuple[Jet, Pullback]:
        """Derivative rule: jet of the points → jet of the energy, [B], [K, B], [B], and its pullback."""
        x, kappa = jet.value.flatten(1), self.base
        v = None if jet.first is None else jet.first.flatten(2)
        out, through = sweep(self.network, Jet(x, v, needs_first=jet.needs_first))
        value = out.value.squeeze(-1)
        first = None if out.first is None else out.first.squeeze(-1)
        second = None if out.second is None else out.second.squeeze(-1)
        if kappa:
            value = torch.add(value, x.square().sum(1), alpha=0.5 * kappa)
        if kappa and v is not None:
            first = None if first is None else first + kappa * (x * v).sum(-1)
            bent = kappa * v.square().sum(-1).sum(0)
            second = bent.expand_as(value) if second is None else second + bent
        return Jet(value, first, second), self._pullback(x, through)

    def vjp(self) -> VjpFn:
        """Derivative rule for jets without directions."""
        network, kappa = vjp(self.network), self.base

        def at(x: Tensor) -> ValueAndPullback:
            flat = x.flatten(1)
            out, through = network(flat)

            def value() -> Tensor:
                f = out().squeeze(-1)
                return torch.add(f, flat.square().sum(1), alpha=0.5 * kappa) if kappa else f

            return value, self._pullback(flat, through)

        return at

    def _pullback(self, flat: Tensor, through: Pullback) -> Pullback:
        """The sum of the pullbacks of network and base."""

        def pullback(g: Tensor) -> Tensor:
            g = g.unsqueeze(-1)
            grad = through(g)
            grad = torch.addcmul(grad, flat, g, value=self.base) if self.base else grad.expand_as(flat)
            return grad.view(len(flat), *self.shape)

        return pullback

    def row_space(self) -> tuple[Tensor, Tensor] | None:
        """An orthonormal basis [n, D] of the row space of the first layer, and the trace of the base outside it [].

        The curvature of the network is confined to that space. None if the first layer is not linear, or not narrower
        than D: then the basis saves nothing.
        """
        first = self.network[0] if isinstance(self.network, nn.Sequential) else None
        if not isinstance(first, nn.Linear) or first.out_features >= first.in_features:
            return None
        # The trace of WᵀAW and its derivative in W depend on W only through its products with the row space, so that Q
        # is a constant.
        q = torch.linalg.qr(first.weight.detach().T).Q
        # Filled on the device: a copy of a number to the device would be waited for.
        outside = q.new_full((), self.base * (first.in_features - first.out_features))
        return q.T, outside
