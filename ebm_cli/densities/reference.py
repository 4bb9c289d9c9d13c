"""The best simple density of a table's rows, which an energy bends and whose samples are the noise."""

from typing import Literal

import torch
from torch import Tensor

from ebm_cli.densities.base import Density
from ebm_cli.densities.differentials import Differentials
from ebm_cli.densities.mixture import FittedMixture
from ebm_cli.densities.mixture_by_bic import mixture_by_bic

Family = Literal["auto", "gaussian", "mixture"]


class Reference(Density):
    """q(x): the simple density that fits the rows best; it has nothing to train.

    A state of any structure can be loaded.

    Args:
        data: reference rows [N, *shape] in standardised units. None is N(0, I), until a state is loaded.
        shape: shape of one point; needed without data only.
        family: mixture (of Gaussians, number of components by BIC); gaussian; auto chooses.

    Shapes: x [B, *shape].
    """

    def __init__(self, data: Tensor | None = None, shape: tuple[int, ...] = (), family: Family = "auto") -> None:
        super().__init__()
        self.shape = tuple(shape) if data is None else tuple(data.shape[1:])
        if data is None:
            self.fitted = FittedMixture(shape=self.shape)
        elif family == "gaussian":
            self.fitted = FittedMixture(data, n_components=1, ridge=1e-4)
        else:
            self.fitted = mixture_by_bic(data)

    def describe(self) -> str:
        """The density in words: "a mixture of 6 Gaussians"."""
        n = len(self.fitted.weights)
        return "a Gaussian" if n == 1 else f"a mixture of {n} Gaussians"

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return self.fitted.sample(n, rng)

    def log_prob(self, x: Tensor) -> Tensor:
        return self.fitted.log_prob(x)

    def differentials(self, x: Tensor, v: Tensor | None = None) -> Differentials:
        return self.fitted.differentials(x, v)
