"""A mixture with trained weights, and means if wanted: the energy on which score matching and chains are blind."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ebm_cli.derivatives import Differentiable, Jet, Pullback
from ebm_cli.energies.base import Energy


class Mixture(Energy, Differentiable):
    """f(x) = −log Σ_k w_k N(x; m_k, s² I), where w = softmax(a) is trained, and m if wanted; log Z = 0.

    If the components are far apart, the score hardly depends on w, and neither does the loss of score matching.

    Source: Wenliang & Kanagawa (2020), "Blindness of score-based methods to isolated components and mixing
    proportions".

    Args:
        shape: shape of one point, [D].
        means: m, a list of D numbers for each component, in the units of the energy.
        std: s > 0, in the units of the energy.
        weights: initial w, a number > 0 for each component; they are normalised.
        train_means: whether m is trained, too.

    Shapes: x [B, D] → [B].  Raises: ValueError if the lists do not fit, or a number is out of range.
    """

    means: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        means: list[list[float]],
        std: float,
        weights: list[float],
        train_means: bool = False,
    ) -> None:
        super().__init__()
        if not means or any(len(m) != math.prod(shape) for m in means):
            raise ValueError(f"means must be lists of {math.prod(shape)} numbers, got {means}")
        if not 0 < std < math.inf:
            raise ValueError(f"std must be > 0, got {std}")
        if len(weights) != len(means) or not all(0 < w < math.inf for w in weights):
            raise ValueError(f"weights must be {len(means)} numbers > 0, one a mean, got {weights}")
        self.shape = shape
        self.std = std
        self.logits = nn.Parameter(torch.tensor(weights, dtype=torch.get_default_dtype()).log())
        m = torch.tensor(means, dtype=torch.get_default_dtype())
        if train_means:
            self.means = nn.Parameter(m)
        else:
            self.register_buffer("means", m, persistent=False)

    @classmethod
    def shape_of(cls, keys: Mapping[str, Any]) -> tuple[int, ...] | None:
        """[D], the length of the first mean."""
        means = keys.get("means")
        return (len(means[0]),) if means and isinstance(means[0], list) else None

    @property
    def weights(self) -> Tensor:
        """w [K]."""
        return self.logits.softmax(0)

    def forward(self, x: Tensor) -> Tensor:
        return -self._log_terms(x).logsumexp(1)

    def sweep(self, jet: Jet) -> tuple[Jet, Pullback]:
        """Derivative rule: ∇f = (x − m̄)/s², ∇²f = I/s² − Cov(m)/s⁴, with moments over the components given x."""
        x, precision = jet.value, self.std**-2
        terms = self._log_terms(x)
        given_x = terms.softmax(1)
        grad = precision * (x - given_x @ self.means)

        def pullback(g: Tensor) -> Tensor:
            return g.unsqueeze(-1) * grad

        if jet.first is None:
            return Jet(-terms.logsumexp(1)), pullback
        v = jet.first
        along = v @ self.means.T  # m_k·v [K directions, B or 1, components]
        mean = (given_x * along).sum(-1, keepdim=True)
        spread = (given_x * (along - mean).square()).sum(-1)
        curvature = (precision * v.square().sum(-1) - precision**2 * spread).sum(0)
        return Jet(-terms.logsumexp(1), (grad * v).sum(-1), curvature.expand(len(x))), pullback

    def log_z(self) -> Tensor:
        return torch.zeros_like(self.logits[0])

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw a component, then a point of it."""
        k = torch.multinomial(self.weights.detach(), n, replacement=True, generator=rng)
        z = torch.randn((n, *self.shape), generator=rng, dtype=self.means.dtype, device=self.means.device)
        return self.means.detach()[k] + self.std * z

    def _log_terms(self, x: Tensor) -> Tensor:
        """log w_k + log N(x; m_k, s² I): [B, K]."""
        log_norm = self.means.shape[1] * math.log(self.std * math.sqrt(2 * math.pi))
        squares = (x.unsqueeze(1) - self.means).square().sum(2)
        return self.logits.log_softmax(0) - 0.5 * self.std**-2 * squares - log_norm
