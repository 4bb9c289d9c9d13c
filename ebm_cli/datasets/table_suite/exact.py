"""Densities of the suite that are computed in one piece, and their sums with weights."""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from ebm_cli.datasets.target import Target


class Exact(Target):
    """A density that has no form under Gaussian noise; the suite asks for none."""

    def smoothed(self, noise_std: float) -> Target:
        if noise_std == 0:
            return self
        raise ValueError(f"noise_std must be 0 for a density of the table suite, got {noise_std}")


@final
class WeightedSum(Exact):
    """p(x) = Σ_k w_k p_k(x).

    Args:
        parts: p_k, of one shape.
        weights: w_k > 0; they are normalised to sum 1.

    Shapes: x [B, D]. Modes: the parts; a point belongs to the part with the largest w_k p_k(x).
    """

    log_weights: Tensor

    def __init__(self, parts: Sequence[Target], weights: Sequence[float]) -> None:
        super().__init__(parts[0].shape)
        self.n_modes = len(parts)
        self.parts = nn.ModuleList(parts)
        self.register_buffer("log_weights", torch.tensor(weights).log().log_softmax(0), persistent=False)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        k = torch.multinomial(self.log_weights.exp(), n, replacement=True, generator=rng)
        drawn = torch.stack([part.sample(n, rng) for part in self._targets()])
        return drawn[k, torch.arange(n, device=k.device)]

    def log_prob(self, x: Tensor) -> Tensor:
        return self._log_terms(x).logsumexp(1)

    def modes(self, x: Tensor) -> Tensor:
        return self._log_terms(x).argmax(1)

    def _log_terms(self, x: Tensor) -> Tensor:
        """log w_k + log p_k(x): x [B, D] → [B, K]."""
        return torch.stack([part.log_prob(x) for part in self._targets()], dim=1) + self.log_weights

    def _targets(self) -> list[Target]:
        return [part for part in self.parts if isinstance(part, Target)]
