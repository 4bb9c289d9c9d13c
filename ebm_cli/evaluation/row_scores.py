"""Scores of single rows: their energy, log-density, and rank among held-out rows.

    log p(x) = −f(u) − log Z − Σ_j log scale_j                 u = (x − mean)/scale
    p-value  = (1 + #{held-out rows with an energy ≥ f(u)}) / (1 + M)

The p-value is that of a permutation test: a row that is drawn like the M held-out ones, of which the energy was not
trained, has a p-value ≤ α with probability ≤ α, whatever the energy is. It needs no log Z.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ebm_cli.evaluation.log_z import Normalisation


@dataclass(frozen=True)
class RowScores:
    """Scores of N rows, float64 on the CPU; NaN for a row with a missing number.

    Attributes:
        energy: f [N], nats.
        log_p: log-density in data units [N]; None where log Z is not known.
        log_p_se: its standard error, that of log Z and the same for all rows; None where log Z is not known.
        p_value: [N]; None without held-out rows.
    """

    energy: Tensor
    log_p: Tensor | None
    log_p_se: float | None
    p_value: Tensor | None

    def strangest(self, n: int) -> list[int]:
        """Positions of the n rows with the highest energy, the highest first."""
        known = (~self.energy.isnan()).nonzero()[:, 0]
        order = self.energy[known].argsort(descending=True, stable=True)
        return [int(i) for i in known[order[:n]]]


def score_rows(energy: Tensor, normalisation: Normalisation, log_det: float, held_out: Tensor | None) -> RowScores:
    """Compute the scores of rows.

    Args:
        energy: of the rows [N], nats.
        normalisation: log Z in standardised units, if it is known.
        log_det: Σ_j log scale_j of the standardizer.
        held_out: energy of held-out rows [M]; None without any.
    """
    p_value = None if held_out is None else p_values(energy, held_out)
    if normalisation.log_z is None:
        return RowScores(energy, None, None, p_value)
    return RowScores(energy, -energy - normalisation.log_z - log_det, normalisation.se, p_value)


def p_values(energy: Tensor, held_out: Tensor) -> Tensor:
    """(1 + #{held-out energies ≥ energy}) / (1 + M): [N], [M] → [N]; NaN for a NaN."""
    ordered = held_out.sort().values
    n_higher = len(ordered) - torch.searchsorted(ordered, energy.contiguous())
    return torch.where(energy.isnan(), torch.nan, (1 + n_higher.double()) / (1 + len(ordered)))
