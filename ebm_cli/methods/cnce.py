"""Conditional noise contrastive estimation: tell each row from a perturbed copy of itself.

The noise y = x + ε ξ depends on its row and p_c(y | x) = p_c(x | y), so that neither its density nor log Z is in the
log-odds f(y) − f(x) of "x is the row, y the copy":

    L(θ) = 2 E_x E_y softplus( f(x) − f(y) )

is minimal where p ∝ e^{−f}, for every ε > 0, and (L − 2 log 2)/(ε²/2) is the loss of score matching as ε → 0. A copy
that stays in its mode says nothing of the weight of another: ε has to reach from one mode to the next. The copy of a
row may have any scale, as long as it is chosen without regard to the row: a mixture over scales is symmetric too.

Source: Ceylan & Gutmann (2018), "Conditional noise-contrastive estimation of unnormalised models", arXiv:1806.03664.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ebm_cli.energies import Energy
from ebm_cli.methods.base import Evaluations, LossOutput, Symptom
from ebm_cli.methods.of_energies import OfEnergies, Query
from ebm_cli.methods.whitening import Whitening

FAR_COPIES = Symptom(
    "loss",
    1e-6,
    "every perturbed copy is told from its row without an error, and nothing more is learned",
    "lower method.eps, or set method.whiten=true for correlated columns",
    below=True,
    steps=200,
)


class CNCE(OfEnergies):
    """L = 2 mean_x mean_j softplus( f(x) − f(x + ε ξ_j) ), ξ_j ~ N(0, I).

    Args:
        eps: ε > 0, standard deviation of the perturbation, in standardised units, in which the data have variance 1.
        eps_least: > 0 and ≤ eps: ε of each pair is drawn between this and eps, uniformly on a logarithmic scale; None
            takes eps alone.
        n_copies: perturbed copies of a row, ≥ 1; two by two they are mirror images, x ± ε ξ.
        whiten: perturb along the covariance of the data, and not each column alike (see `whitening`).
        shape: shape of one point (for `whiten`).
        data: rows [N, D] in standardised units (for `whiten`).

    Shapes: x [B, *D].
    Raises: ValueError if a number is out of range, or the points cannot be whitened.
    Cost: 1 + n_copies energies a row, in one forward pass.
    """

    divided = ()

    def __init__(
        self,
        eps: float = 1.0,
        eps_least: float | None = None,
        n_copies: int = 1,
        whiten: bool = False,
        shape: tuple[int, ...] = (),
        data: Tensor | None = None,
    ) -> None:
        super().__init__()
        if eps <= 0:
            raise ValueError(f"eps must be > 0, got {eps}")
        if eps_least is not None and not 0 < eps_least <= eps:
            raise ValueError(f"eps_least must be > 0 and <= eps={eps}, got {eps_least}")
        if n_copies < 1:
            raise ValueError(f"n_copies must be >= 1, got {n_copies}")
        self.eps = eps
        self.eps_least = eps_least
        self.n_copies = n_copies
        self.whitening = Whitening(shape, data) if whiten else None

    def symptoms(self) -> tuple[Symptom, ...]:
        return (*super().symptoms(), FAR_COPIES)

    def n_values(self, n_rows: int) -> float:
        return (1 + self.n_copies) * n_rows

    def query(self, energy: Energy, x: Tensor, rng: torch.Generator) -> Query:
        if self.whitening is not None:
            x = self.whitening.to_white(x)
        k = self.n_copies
        xi = torch.randn((k - k // 2, *x.shape), generator=rng, dtype=x.dtype, device=x.device)
        # In the sum over ξ and −ξ the odd terms of ε cancel, which are most of the variance where ε is small.
        xi = torch.cat((xi, -xi[: k // 2]))
        if self.eps_least is None:
            copies = torch.add(x, xi, alpha=self.eps)
        else:
            u = torch.rand((k, len(x), *[1] * (x.dim() - 1)), generator=rng, dtype=x.dtype, device=x.device)
            copies = x + self.eps * torch.exp(u * math.log(self.eps_least / self.eps)) * xi
        points = torch.cat((x, copies.flatten(0, 1)))
        return Query(
            points if self.whitening is None else self.whitening.from_white(points), self._from_values, self._with_slope
        )

    def _from_values(self, value: Tensor) -> LossOutput:
        """The loss from the energies of rows and their copies [(1 + k) B]."""
        return self._output(self._differences(value))

    def _with_slope(self, value: Tensor) -> tuple[LossOutput, Tensor]:
        """The loss and ∂L/∂f: −2 sigmoid(d_j) / (k B) at x'_j, and at x minus their sum [(1 + k) B]."""
        difference = self._differences(value)
        of_copies = difference.sigmoid().mul_(-2 / difference.numel())
        return self._output(difference), torch.cat((-of_copies.sum(0), of_copies.flatten()))

    def _differences(self, value: Tensor) -> Tensor:
        """d_j = f(x) − f(x'_j) [k, B]."""
        value = value.view(1 + self.n_copies, -1)
        return value[:1] - value[1:]

    def _output(self, difference: Tensor) -> LossOutput:
        loss = 2 * F.softplus(difference).mean()
        metrics = {"accuracy": (difference.detach() < 0).to(difference.dtype).mean()}
        return LossOutput(loss, metrics, evaluations=Evaluations(energy=1 + self.n_copies))
