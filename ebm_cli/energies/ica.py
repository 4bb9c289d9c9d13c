"""Independent components as an energy: a linear map to sources whose densities are known.

Source: Hyvärinen (2005), "Estimation of non-normalized statistical models by score matching", section 3; the energy of
the experiment in Grathwohl et al. (2020), "Learning the Stein discrepancy", section 5.2.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ebm_cli.derivatives import Differentiable, Jet, Pullback
from ebm_cli.energies.base import Energy

LOGISTIC_STD = math.pi / math.sqrt(3)
"""Standard deviation of the logistic distribution of scale 1."""


class ICA(Energy, Differentiable):
    """f(x) = Σ_i g(w_iᵀx),  g(s) = softplus(s) + softplus(−s), with W trained; log Z = −log |det W|.

    g is −log of the logistic density of scale 1 (variance π²/3), so that exp(−f) integrates to 1/|det W|. W starts as a
    random rotation, scaled so that the sources of standardised data have the variance of the logistic.

    Args:
        shape: shape of one point; points are flattened.

    Shapes: x [B, *shape] → [B].
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        size = math.prod(shape)
        self.shape = shape
        self.weight = nn.Parameter(LOGISTIC_STD * nn.init.orthogonal_(torch.empty(size, size)))

    def forward(self, x: Tensor) -> Tensor:
        s = x.flatten(1) @ self.weight.T
        return (F.softplus(s) + F.softplus(-s)).sum(1)

    def sweep(self, jet: Jet) -> tuple[Jet, Pullback]:
        """Derivative rule: g' = tanh(s/2), g'' = ½ (1 − g'²); ∇f = Wᵀg', and Σ_k Σ_i g''(s_i) (w_iᵀv_k)²."""
        s = jet.value.flatten(1) @ self.weight.T
        value = (F.softplus(s) + F.softplus(-s)).sum(1)
        slope = torch.tanh(0.5 * s)
        grad = slope @ self.weight

        def pullback(g: Tensor) -> Tensor:
            return (g.unsqueeze(-1) * grad).view(len(grad), *self.shape)

        if jet.first is None:
            return Jet(value), pullback
        v = jet.first.flatten(2)
        bend = 0.5 * (1 - slope.square())
        curvature = (bend * (v @ self.weight.T).square().sum(0)).sum(-1)
        return Jet(value, (grad * v).sum(-1), curvature), pullback

    def log_z(self) -> Tensor:
        log_det: Tensor = torch.linalg.slogdet(self.weight).logabsdet
        return -log_det

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw x = W⁻¹ s with logistic sources s."""
        weight = self.weight.detach()
        u = torch.rand(len(weight), n, generator=rng, dtype=torch.float64, device=weight.device)
        s = torch.logit(u.clamp(min=math.ulp(0.5))).to(weight.dtype)
        x: Tensor = torch.linalg.solve(weight, s).T
        return x.reshape(n, *self.shape)
