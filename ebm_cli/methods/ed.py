"""Energy discrepancy: the energy of the data against that of the data blurred and averaged back.

With the blurred density p_t = p ∗ N(0, tI) and the energy's own blur f_t(y) = −log ∫ N(y; x', tI) e^{−f(x')} dx',

    ED_t(p, f) = E_p[f(x)] − E_{p_t}[f_t(y)]

is minimal where p ∝ e^{−f}, for every t > 0. ED_t/t is the loss of score matching as t → 0; as t → ∞ differences of
ED_t between energies become those of the negative log-likelihood. Therefore √t has to reach from one mode to the next
for their weights to be learned. The integral is a mean over M second perturbations:

    y = x + √t ξ,   x'_j = y + √t ξ'_j,   L = mean_x log( w/M + mean_j exp(f(x) − f(x'_j)) )

Without w, an x'_j that is far from the data has no bounded effect on a small sample; w/M bounds the loss from below.
Neither a chain, nor a derivative in x, nor log Z is needed.

Source: Schröder, Ou, Lim, Li, Vollmer & Duncan (2023), "Energy discrepancies: a score-independent loss for energy-based
models", arXiv:2307.06431.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ebm_cli.energies import Energy
from ebm_cli.methods.base import Evaluations, LossOutput, Symptom
from ebm_cli.methods.of_energies import OfEnergies, Query
from ebm_cli.methods.whitening import Whitening

FAR_PERTURBATIONS = Symptom(
    "above_bound",
    1e-5,
    "every perturbed row is far outside the data: the loss is at its lower bound, and learns nothing more",
    "lower method.t, or set method.whiten=true for correlated columns; in many dimensions choose method=cd or nce",
    below=True,
    steps=200,
)


class ED(OfEnergies):
    """L = mean_x log( w/M + (1/M) Σ_j exp(f(x) − f(x + √t ξ + √t ξ'_j)) ), ξ, ξ'_j ~ N(0, I).

    Args:
        t: variance of either perturbation, > 0, in standardised units (squared), in which the data have variance 1.
        n_perturbations: M ≥ 1; the loss is biased by the logarithm of a mean, less the more there are.
        w: weight that bounds the loss, ≥ 0; with 0 the loss has no lower bound.
        whiten: perturb along the covariance of the data, and not each column alike (see `whitening`).
        shape: shape of one point (for `whiten`).
        data: rows [N, D] in standardised units (for `whiten`).

    Shapes: x [B, *D].
    Raises: ValueError if a number is out of range, or the points cannot be whitened.
    Cost: 1 + M energies a row, in one forward pass.
    """

    divided = ()

    def __init__(
        self,
        t: float = 0.25,
        n_perturbations: int = 4,
        w: float = 1.0,
        whiten: bool = False,
        shape: tuple[int, ...] = (),
        data: Tensor | None = None,
    ) -> None:
        super().__init__()
        if t <= 0:
            raise ValueError(f"t must be > 0, got {t}")
        if n_perturbations < 1:
            raise ValueError(f"n_perturbations must be >= 1, got {n_perturbations}")
        if w < 0:
            raise ValueError(f"w must be >= 0, got {w}")
        self.t = t
        self.n_perturbations = n_perturbations
        self.w = w
        self.whitening = Whitening(shape, data) if whiten else None

    def symptoms(self) -> tuple[Symptom, ...]:
        return (*super().symptoms(), FAR_PERTURBATIONS) if self.w else super().symptoms()

    def n_values(self, n_rows: int) -> float:
        return (1 + self.n_perturbations) * n_rows

    def query(self, energy: Energy, x: Tensor, rng: torch.Generator) -> Query:
        if self.whitening is not None:
            x = self.whitening.to_white(x)
        m, scale = self.n_perturbations, math.sqrt(self.t)
        xi = torch.randn((1 + m, *x.shape), generator=rng, dtype=x.dtype, device=x.device)
        perturbed = torch.add(x + scale * xi[0], xi[1:], alpha=scale)
        points = torch.cat((x, perturbed.flatten(0, 1)))
        return Query(
            points if self.whitening is None else self.whitening.from_white(points), self._from_values, self._with_slope
        )

    def _from_values(self, value: Tensor) -> LossOutput:
        """The loss from the energies of rows and their perturbations [(1 + M) B]."""
        difference = self._differences(value)
        rows = difference.logsumexp(0)
        if self.w:
            log_w = math.log(self.w)
            # log(w + e^r) = log w + softplus(r − log w)
            rows = log_w + F.softplus(rows - log_w)
        return self._output(rows, difference)

    def _with_slope(self, value: Tensor) -> tuple[LossOutput, Tensor]:
        """The loss and ∂L/∂f: −exp(d_j) / (w + Σ exp d) / B at x'_j, and at x minus their sum [(1 + M) B]."""
        difference = self._differences(value)
        top = difference.amax(0)
        if self.w:
            top.clamp_(min=math.log(self.w))
        of_perturbed = (difference - top).exp_()
        total = of_perturbed.sum(0)
        if self.w:
            total.add_(top.neg().exp_(), alpha=self.w)
        of_perturbed.div_(total).div_(-len(total))
        slope = torch.cat((-of_perturbed.sum(0), of_perturbed.flatten()))
        return self._output(total.log_().add_(top), difference), slope

    def _differences(self, value: Tensor) -> Tensor:
        """d_j = f(x) − f(x'_j) [M, B]."""
        value = value.view(1 + self.n_perturbations, -1)
        return value[:1] - value[1:]

    def _output(self, rows: Tensor, difference: Tensor) -> LossOutput:
        """The loss of rows whose log(w + Σ_j exp d_j) is `rows` [B]: log(w/M + mean_j exp d_j) without log M."""
        m = self.n_perturbations
        loss = rows.mean() - math.log(m)
        metrics = {"perturbation_gap": difference.detach().mean()}
        if self.w:
            metrics["above_bound"] = loss.detach() - math.log(self.w / m)
        return LossOutput(loss, metrics, evaluations=Evaluations(energy=1 + m))
