"""How far a model is from the data, measured against the data's own density.

With log Z computed independently of training, log p_θ = −f − log Z, and every measure is an expectation under the data:

    KL(p ‖ p_θ)    = E_p[log p − log p_θ]
    NLL            = E_p[−log p_θ]            = KL + entropy of p
    MSE            = E_p[(log p − log p_θ)²]
    Fisher         = ½ E_p‖∇log p − ∇log p_θ‖²      (Hyvärinen 2005, eq. 2: needs no log Z)
    mode TV        = ½ Σ_k |p(mode k) − p_θ(mode k)|

In one and two dimensions the expectations are quadrature sums over the data's density, without sampling error;
otherwise they are means over rows that training never saw, and their standard errors hold that of log Z too. Where the
density of the data is not known, the model is measured against the Gaussian fitted to the training rows, row by row:

    NLL − NLL_Gauss = E_p[log q_Gauss − log p_θ]    with the standard error of the paired differences

The energy lives in standardised units u, the measures are in the data's
units x: log p_x(x) = log p_u(u) − Σ log scale and ∇_x = ∇_u / scale. KL, MSE and mode TV are the same in both.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor, nn

from ebm_cli.datasets.base import Dataset, Target, UnseenPart
from ebm_cli.datasets.standardizer import Standardizer
from ebm_cli.densities.base import Density
from ebm_cli.densities.gaussian import Gaussian
from ebm_cli.derivatives import value_and_grad
from ebm_cli.evaluation.batched import CHUNK, in_chunks, placement
from ebm_cli.evaluation.log_z import Normalisation, by_quadrature, closed_form
from ebm_cli.evaluation.quadrature import FINE, Grid, Quadrature, Resolution, integrate

M = TypeVar("M", bound=nn.Module)

DROPPED = 1e-12  # probability that the nodes left out of an expectation hold together
UNLABELLED = 1e-7  # the same, where only masses are summed: labelling a node can cost more than its energy
UNNORMALISED = 1e-3  # how far from 1 the quadrature of the data's density may be


@dataclass(frozen=True)
class Evaluation:
    """The measures of one energy.

    Attributes:
        values: the keys of results.json that can be computed; every number is finite.
        absent: key → why it could not be computed.
        notes: sentences about what is to be believed how far.
        data_modes, model_modes: probability of each mode [n_modes], where the density has several.
    """

    values: dict[str, float | str]
    absent: dict[str, str]
    notes: tuple[str, ...] = ()
    data_modes: Tensor | None = None
    model_modes: Tensor | None = None

    @property
    def log_z(self) -> float | None:
        """log Z in standardised units, if there is one."""
        value = self.values.get("eval/log_z")
        return value if isinstance(value, float) else None


@dataclass(frozen=True)
class Expectation:
    """E_p as a weighted sum over points.

    Attributes:
        u: points [N, *D], standardised units, float64.
        weight: [N]; they sum to one.
        log_p, score: log p_u [N] and ∇_u log p_u [N, *D]; None where the density is unknown.
        sampled: whether the points are rows, and not the nodes of a quadrature.
    """

    u: Tensor
    weight: Tensor
    log_p: Tensor | None
    score: Tensor | None

    sampled: bool

    def __call__(self, values: Tensor) -> float:
        """Σ weight · values, values [N]."""
        return float(self.weight @ values)

    def se(self, values: Tensor) -> float | None:
        """Standard error of the mean of values [N]; None of a quadrature, which has none."""
        return float(values.std()) / math.sqrt(len(values)) if self.sampled else None


class Evaluator:
    """Measures energies against one data set; what depends on the data alone is computed once.

    Args:
        data: the data set.
        n_rows: rows, for the box and where there is no quadrature.
        resolution: of the quadrature in one and two dimensions: `FINE`, or `COARSE` for periodic evaluations.
        part: whose rows: "test" to judge by, "validation" to watch training by.

    Raises:
        ValueError: n_rows < 2.
    """

    def __init__(
        self,
        data: Dataset,
        n_rows: int = 10_000,
        resolution: Resolution = FINE,
        part: UnseenPart = "test",
    ) -> None:
        if n_rows < 2:
            raise ValueError(f"n_rows must be >= 2, got {n_rows}")
        self.data, self.n_rows, self.resolution, self.part = data, n_rows, resolution, part

    def __call__(self, energy: Callable[[Tensor], Tensor], normalisation: Normalisation | None = None) -> Evaluation:
        """Every measure that can be had of an energy [B, *D] → [B] in standardised units.

        Args:
            energy: f.
            normalisation: its log Z; by default the closed form or the quadrature, where there is one.
        """
        found = self.normalise(energy) if normalisation is None else normalisation
        values, absent = dict(found.values), dict(found.absent)
        for key, value in self._measures(energy, found).items():
            if math.isfinite(value):
                values[key] = value
            else:
                absent[key] = f"its value is {value}"
        data_modes, model_modes = self._data_modes, None
        if found.quadrature is not None and data_modes is not None:
            model_modes = self._mode_masses(found.quadrature)
            values["eval/mode_tv"] = 0.5 * float((data_modes - model_modes).abs().sum())
        return Evaluation(values, absent, found.notes, data_modes, model_modes)

    def normalise(self, energy: Callable[[Tensor], Tensor]) -> Normalisation:
        """log Z by the closed form or by quadrature; absent with a reason where there is neither."""
        if self.on_grid:
            return by_quadrature(energy, self._grid, self.resolution, self.data.shape)
        reason = f"no closed form, and no grid in {math.prod(self.data.shape)} dimensions"
        return closed_form(energy) or Normalisation(None, absent={"eval/log_z": reason})

    def _measures(self, energy: Callable[[Tensor], Tensor], normalisation: Normalisation) -> dict[str, float]:
        mean, log_det, log_z = self._expectation, float(self._standardizer.log_det), normalisation.log_z
        measures: dict[str, float] = {}
        if mean.log_p is not None:
            measures["eval/entropy"] = log_det - mean(mean.log_p)
        dtype, device = placement(energy)
        points = mean.u.to(device, dtype)
        if mean.score is None:
            with torch.no_grad():
                f = in_chunks(energy, points).cpu()
        else:
            f, grad = _values_and_grads(energy, points)
            misfit = (mean.score + grad).flatten(1) / self._scale
            measures["eval/fisher"] = 0.5 * mean(misfit.square().sum(1))
            measures["eval/fisher_flat"] = 0.5 * mean((mean.score.flatten(1) / self._scale).square().sum(1))
        if log_z is None:
            return measures
        log_q = -f - log_z

        def put(key: str, rows: Tensor) -> None:
            """The mean, and its standard error where rows were drawn; log Z is the same for all of them."""
            error = mean.se(rows)
            measures[key] = mean(rows)
            if error is not None:
                measures[f"{key}_se"] = math.hypot(error, normalisation.se)

        put("eval/nll", log_det - log_q)
        if mean.log_p is not None:
            put("eval/kl", mean.log_p - log_q)
            measures["eval/log_density_mse"] = mean((mean.log_p - log_q).square())
        else:
            with torch.no_grad():
                put("eval/nll_vs_gaussian", in_chunks(self._gaussian.log_prob, mean.u) - log_q)
        return measures

    @property
    def on_grid(self) -> bool:
        """Whether the data have one or two dimensions, where integrals are sums over cells."""
        return math.prod(self.data.shape) <= 2

    @property
    def exact(self) -> bool:
        """Whether expectations are sums over the data's density, into which no rows enter."""
        return self.on_grid and self.data.density is not None

    @cached_property
    def rows(self) -> Tensor:
        """The rows of the part [N, *D], standardised units, float64 on the CPU."""
        return self._standardizer.standardise(self.data.unseen_rows(self.part, self.n_rows))

    @cached_property
    def _gaussian(self) -> Gaussian:
        """The Gaussian fitted to the training rows, standardised units: what a model has to beat."""
        return Gaussian(self.data.reference.to("cpu", torch.float64))

    @cached_property
    def _standardizer(self) -> Standardizer:
        """The data set's own, in float64 on the CPU."""
        return reference_copy(self.data.standardizer)

    @cached_property
    def _density(self) -> Density | None:
        """The data set's own, in float64 on the CPU, whatever the run computes in."""
        return None if self.data.density is None else reference_copy(self.data.density)

    @property
    def _scale(self) -> Tensor:
        """Scale of each column [D]."""
        return self._standardizer.scale.flatten()

    def _minus_log_p(self, u: Tensor) -> Tensor:
        """The data's own energy in standardised units: −log p_u(u) = −log p_x(x) − log_det."""
        assert self._density is not None
        return -(self._density.log_prob(self._standardizer.inverse(u)) + self._standardizer.log_det)

    @cached_property
    def _truth(self) -> Quadrature | None:
        """The data's density on its own grid, which resolves it; None where there is no density or no grid."""
        if not self.exact:
            return None
        around = Grid.around(self.rows.flatten(1), self.resolution)
        truth = integrate(self._minus_log_p, around, self.resolution, self.data.shape, torch.float64)
        if abs(math.expm1(truth.log_z)) > UNNORMALISED:
            raise ValueError(f"density of the data integrates to {math.exp(truth.log_z):.6g}, not to 1")
        return truth

    @cached_property
    def _grid(self) -> Grid:
        """Where an energy's integral starts: cells that already resolve the data."""
        return Grid.around(self.rows.flatten(1), self.resolution) if self._truth is None else self._truth.grid

    @cached_property
    def _expectation(self) -> Expectation:
        if self._truth is None:
            u, weight = self.rows, torch.full((len(self.rows),), 1 / len(self.rows), dtype=torch.float64)
        else:
            nodes, weight = self._truth.heaviest(DROPPED)
            u = nodes.view(-1, *self.data.shape)
        if self._density is None:
            return Expectation(u, weight, None, None, sampled=True)
        minus_log_p, minus_score = _values_and_grads(self._minus_log_p, u)
        return Expectation(u, weight, -minus_log_p, -minus_score, sampled=self._truth is None)

    @cached_property
    def _data_modes(self) -> Tensor | None:
        density = self._density
        if self._truth is None or not isinstance(density, Target) or density.n_modes < 2:
            return None
        return self._mode_masses(self._truth)

    def _mode_masses(self, quadrature: Quadrature) -> Tensor:
        """Probability of each mode of the data's density under exp(−f)/Z [n_modes]."""
        density = self._density
        assert isinstance(density, Target)
        nodes, masses = quadrature.heaviest(UNLABELLED)
        with torch.no_grad():
            labels = density.modes(self._standardizer.inverse(nodes.view(-1, *self.data.shape)))
        return torch.zeros(density.n_modes, dtype=torch.float64).index_add_(0, labels.long(), masses)


def evaluate(
    energy: Callable[[Tensor], Tensor], data: Dataset, *, n_rows: int = 10_000, resolution: Resolution = FINE
) -> Evaluation:
    """`Evaluator(data, n_rows, resolution)(energy)`, for a single energy."""
    return Evaluator(data, n_rows, resolution)(energy)


def with_learned_log_z(values: dict[str, float | str], learned: float) -> dict[str, float | str]:
    """The values with `eval/log_z_learned`, and `eval/log_z_gap` = learned − independent where there is one, nats."""
    added: dict[str, float | str] = {"eval/log_z_learned": learned}
    log_z = values.get("eval/log_z")
    if isinstance(log_z, float):
        added["eval/log_z_gap"] = learned - log_z
    return values | added


def reference_copy(module: M) -> M:
    """A copy in float64 on the CPU, whatever the run computes in: what the truth is measured with."""
    return copy.deepcopy(module).to("cpu", torch.float64)


def _values_and_grads(energy: Callable[[Tensor], Tensor], u: Tensor) -> tuple[Tensor, Tensor]:
    """f(u) [N] and ∇f(u) [N, *D] in chunks, float64, on the CPU."""
    parts = [value_and_grad(energy, part) for part in torch.split(u, CHUNK)]
    values, grads = (torch.cat([part[i] for part in parts]).to("cpu", torch.float64) for i in (0, 1))
    return values, grads
