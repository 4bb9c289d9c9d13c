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
        return self._output(self._terms(value))

    def _with_slope(self, value: Tensor) -> tuple[LossOutput, Tensor]:
        """The loss and ∂L/∂f [(1 + M) B]: −s_j/B at x'_j with s = softmax(log w, d_1 … d_M), and (1 − s_0)/B at x."""
        terms = self._terms(value)
        share = -1 / terms.shape[1]
        slope = terms.softmax(0).mul_(share)
        slope[0] -= share
        return self._output(terms), slope.flatten()

    def _terms(self, value: Tensor) -> Tensor:
        """log w and d_j = f(x) − f(x'_j) [1 + M, B]."""
        value = value.view(1 + self.n_perturbations, -1)
        terms = value[0] - value
        # The first row is 0.
        if self.w != 1:
            terms[0] = math.log(self.w) if self.w else -math.inf
        return terms

    def _output(self, terms: Tensor) -> LossOutput:
        m = self.n_perturbations
        # log(w/M + mean_j exp d_j) = logsumexp(log w, d_1 … d_M) − log M
        loss = terms.logsumexp(0).mean() - math.log(m)
        metrics = {"perturbation_gap": terms[1:].detach().mean()}
        if self.w:
            metrics["above_bound"] = loss.detach() - math.log(self.w / m)
        return LossOutput(loss, metrics, evaluations=Evaluations(energy=1 + m))
