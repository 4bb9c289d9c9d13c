"""A mixture bent by affine couplings: the density of x = m + L T(w), where m + L w is distributed as the mixture.

Couplings of turned coordinates: each keeps one half of the coordinates that a fixed rotation makes, so that every
column moves every other one after few of them. Every layer is infinitely often differentiable, and with it log q, as
score matching needs it. Source of the layer: Dinh, Sohl-Dickstein & Bengio (2017), "Density estimation using Real NVP".
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ebm_cli.densities.affine_coupling import Coupling
from ebm_cli.densities.base import Density
from ebm_cli.densities.elliptical import EllipticalMixture
from ebm_cli.densities.moments import Moments
from ebm_cli.densities.state import take_any_shapes
from ebm_cli.densities.student import StudentMixture


class Bent(Density):
    """log q(x) = log r(m + L w) + log|det ∂w/∂u|,    u = L⁻¹(x − m),  w = T⁻¹(u),  T = Q₁ᵀ C₁ Q₁ … Qₙᵀ Cₙ Qₙ.

    r is a mixture of Student's t or normal distributions, C_i are affine couplings and Q_i fixed rotations. T starts as
    the identity, and q as r. Fitted by `flow_fit`, and never trained afterwards: `freeze` makes buffers of its weights.

    Args:
        mixture: the best simple density of the same points. Inputs of a network may say where in it a point lies; q
            does not depend on it.
        start: r.
        moments: m and L, of the points.
        n_couplings: n ≥ 1.
        width: hidden units of each coupling's network of two hidden layers, ≥ 1.

    Shapes: x [B, *shape], of two coordinates or more.
    Cost: n small networks a point more than r; a gradient four times as much, and as much again for each direction.
    """

    mean: Tensor
    factor: Tensor
    whiten: Tensor
    turns: Tensor

    def __init__(
        self, mixture: EllipticalMixture, start: StudentMixture, moments: Moments, n_couplings: int, width: int
    ) -> None:
        super().__init__()
        take_any_shapes(self)
        self.shape = mixture.shape
        self.mixture = mixture
        self.start = start
        size = math.prod(self.shape)
        parts = {"mean": moments.mean, "factor": moments.factor, "whiten": moments.whiten()}
        for name, value in (parts | {"turns": _rotations(n_couplings, size)}).items():
            # Contiguous, as a loaded state is: a product's last bit depends on the layout.
            self.register_buffer(name, value.to(mixture.means).contiguous())
        self.couplings = nn.ModuleList(Coupling(size, width, flip=False) for _ in range(n_couplings))

    @classmethod
    def of_state(cls, mixture: EllipticalMixture, state: dict[str, Any], prefix: str) -> "Bent | None":
        """The density whose state has names that begin with `prefix`, before it is loaded; None if there is none."""
        if f"{prefix}turns" not in state:
            return None
        n_couplings, width = len(state[f"{prefix}turns"]), len(state[f"{prefix}couplings.0.net.0.bias"])
        moments = Moments.standard(math.prod(mixture.shape))
        return cls(mixture, StudentMixture(mixture.shape), moments, n_couplings, width).freeze()

    def freeze(self) -> "Bent":
        """Make buffers of the weights: no optimizer and no moving average sees them."""
        for module in self.couplings.modules():
            for name, weight in list(module.named_parameters(recurse=False)):
                delattr(module, name)
                module.register_buffer(name, weight.detach())
        return self

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return self.sample_with_log_prob(n, rng)[0]

    def log_prob(self, x: Tensor) -> Tensor:
        w = (x.flatten(1) - self.mean) @ self.whiten.T
        terms = []
        for turn, coupling in zip(self.turns.flip(0), reversed(self.couplings), strict=True):
            w, term = coupling(w @ turn.T, inverse=True)
            w = w @ turn
            terms.append(term)
        log_q: Tensor = self.start.log_prob(self._coloured(w)) + torch.cat(terms, 1).sum(1)
        return log_q

    def sample_with_log_prob(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        z, log_r = self.start.sample_with_log_prob(n, rng)
        w = (z.flatten(1) - self.mean) @ self.whiten.T
        terms = []
        for turn, coupling in zip(self.turns, self.couplings, strict=True):
            w, term = coupling(w @ turn.T)
            w = w @ turn
            terms.append(term)
        return self._coloured(w), log_r - torch.cat(terms, 1).sum(1)

    def _coloured(self, w: Tensor) -> Tensor:
        return torch.addmm(self.mean, w, self.factor.T).view(len(w), *self.shape)


def _rotations(n: int, size: int) -> Tensor:
    """The same n orthogonal matrices in every call, uniformly distributed: [n, D, D], float64."""
    normal = torch.randn(n, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rotations: Tensor = torch.linalg.qr(normal)[0]
    return rotations
