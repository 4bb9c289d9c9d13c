"""The abstractions of this folder: a scalar function of a point, and the one made of a network.

p_θ(x) = exp(−f_θ(x)) / Z(θ): low energy is likely. A bare network does not promise that Z is finite (a network that
grows slower than log‖x‖ in one direction has none), so network energies add a wide Gaussian base, ½ κ‖x‖².
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from ebm_cli.derivatives import Differentiable, Jet, Pullback, ValueAndPullback, VjpFn, sweep, vjp


class Energy(nn.Module, ABC):
    """f: R^D → R, in nats.

    Attributes:
        shape: shape of one point, without the batch.
        native: what advances its chains in native code, consulted by `samplers.loops` alone; None is the torch path.
        compiled: what differentiates it in compiled form, consulted by `derivatives` alone; None is the eager path.
    """

    shape: tuple[int, ...]
    native: Any = None
    compiled: Any = None

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """f(x): x [B, *shape] → [B]."""

    def log_z(self) -> Tensor | None:
        """log ∫ exp(−f(x)) dx, differentiable in θ, where it has a closed form; None elsewhere."""
        return None

    def sample(self, n: int, rng: torch.Generator) -> Tensor | None:
        """n exact, independent points of exp(−f)/Z [n, *shape], where they can be had without a chain; else None."""
        return None


class NetworkEnergy(Energy, Differentiable):
    """f(x) = g(x) + ½ κ‖x‖², g a network of one output.

    Args:
        shape: shape of one point.
        network: flat points [B, D] → [B, 1].
        base: κ ≥ 0, in inverse squared standardised units; 0 leaves the network bare.

    Raises:
        ValueError: a negative base.
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
        """Derivative rule: jet of the points → jet of the energy, [B], [K, B], [B], and the way back."""
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
        """The rule for jets without directions."""
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
        """Through the network, and beside it that of the base."""

        def pullback(g: Tensor) -> Tensor:
            g = g.unsqueeze(-1)
            grad = through(g)
            grad = torch.addcmul(grad, flat, g, value=self.base) if self.base else grad.expand_as(flat)
            return grad.view(len(flat), *self.shape)

        return pullback

    def narrow_directions(self) -> tuple[Tensor, Tensor] | None:
        """An orthonormal basis [n, D] of the row space of the first layer, and the trace of the base outside it.

        None where the first layer is not a linear one narrower than D: then nothing is gained.
        """
        first = self.network[0] if isinstance(self.network, nn.Sequential) else None
        if not isinstance(first, nn.Linear) or first.out_features >= first.in_features:
            return None
        # The trace of WᵀAW and its derivative in W involve W only through its products with the row space: Q is a
        # constant.
        q = torch.linalg.qr(first.weight.detach().T).Q
        # Filled on the device: a number that is copied to it is waited for.
        outside = q.new_full((), self.base * (first.in_features - first.out_features))
        return q.T, outside
