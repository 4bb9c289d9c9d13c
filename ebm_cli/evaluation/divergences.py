"""Divergences of a model from the data: KL, NLL, the error of log p, Fisher divergence and mode masses.

With log Z computed independently of training, log p_θ = −f − log Z, and every divergence is an expectation under the
data (`expectation`):

    KL(p ‖ p_θ)    = E_p[log p − log p_θ]
    NLL            = E_p[−log p_θ]            = KL + entropy of p
    MSE            = E_p[(log p − log p_θ)²]
    Fisher         = ½ E_p‖∇log p − ∇log p_θ‖²      (Hyvärinen 2005, eq. 2: needs no log Z)
    mode TV        = ½ Σ_k |p(mode k) − p_θ(mode k)|

The standard error of a mean over rows includes that of log Z. The model is compared with the Gaussian fitted to the
training rows, and a table's model with the mixture of Gaussians, too, row by row:

    NLL − NLL_Gauss = E_p[log q_Gauss − log p_θ]    with the standard error of the paired differences

The energy lives in standardised units u, the results are in the data's
units x: log p_x(x) = log p_u(u) − Σ log scale and ∇_x = ∇_u / scale. KL, MSE and mode TV are the same in both.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ebm_cli.datasets import Dataset, Target, UnseenPart
from ebm_cli.evaluation.baselines import MIXTURE
from ebm_cli.evaluation.batched import in_chunks, placement
from ebm_cli.evaluation.expectation import DataDistribution, values_and_grads
from ebm_cli.evaluation.log_z import Normalisation, by_quadrature, closed_form, unknown
from ebm_cli.evaluation.quadrature import Quadrature
from ebm_cli.evaluation.quadrature_grid import FINE_GRID, Resolution
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.values import Value

UNLABELLED = 1e-7
"""Probability of the nodes that mode masses leave out: labelling a node can cost more than its energy."""
NOTEWORTHY = 0.02
"""Difference between a mode's probability and that of the data from which a note names the mode."""


@dataclass(frozen=True)
class DivergenceResult:
    """The divergences of one energy.

    Attributes:
        results: the keys of results.json; every number is finite.
        data_modes, model_modes: probability of each mode [n_modes], where the density has several.
        quadrature: the cells that log Z was summed over, if it was.
    """

    results: Results
    data_modes: Tensor | None = None
    model_modes: Tensor | None = None
    quadrature: Quadrature | None = None


class Divergences:
    """The divergences of energies from one data set; the part of the data is computed once.

    Args:
        dataset: the data.
        n_rows, resolution, part: see `DataDistribution`.
    """

    def __init__(
        self,
        dataset: Dataset,
        n_rows: int = 10_000,
        resolution: Resolution = FINE_GRID,
        part: UnseenPart = "test",
    ) -> None:
        self.data = DataDistribution(dataset, n_rows, resolution, part)

    def __call__(
        self, energy: Callable[[Tensor], Tensor], normalisation: Normalisation | None = None
    ) -> DivergenceResult:
        """Every divergence that can be computed of an energy [B, *D] → [B] in standardised units.

        Args:
            energy: f.
            normalisation: its log Z; None for the closed form or the quadrature, where there is one.
        """
        found = self.normalise(energy) if normalisation is None else normalisation
        results = found.results | Results(self._divergences(energy, found)).finite()
        data_modes, model_modes = self._data_modes, None
        if found.quadrature is not None and data_modes is not None:
            model_modes = self._mode_masses(found.quadrature)
            values: dict[str, Value] = {"eval/mode_tv": total_variation(data_modes, model_modes)}
            results |= Results(values, notes=_worst_mode(data_modes, model_modes))
        return DivergenceResult(results, data_modes, model_modes, found.quadrature)

    def normalise(self, energy: Callable[[Tensor], Tensor]) -> Normalisation:
        """log Z by the closed form or by quadrature; absent with a reason where there is neither."""
        shape = self.data.dataset.shape
        if self.data.is_on_grid:
            return by_quadrature(energy, self.data.grid, self.data.resolution, shape)
        reason = f"no closed form, and no grid in {math.prod(shape)} dimensions"
        return closed_form(energy) or unknown(reason)

    def _divergences(self, energy: Callable[[Tensor], Tensor], normalisation: Normalisation) -> dict[str, Value]:
        mean, scale, log_det = self.data.expectation, self.data.scale, float(self.data.standardizer.log_det)
        values: dict[str, Value] = {}
        if mean.log_p is not None:
            values["eval/entropy"] = log_det - mean(mean.log_p)
        dtype, device = placement(energy)
        points = mean.u.to(device, dtype)
        if mean.score is None:
            with torch.no_grad():
                f = in_chunks(energy, points).cpu()
        else:
            f, grad = values_and_grads(energy, points)
            misfit = (mean.score + grad).flatten(1) / scale
            values["eval/fisher"] = 0.5 * mean(misfit.square().sum(1))
            values["eval/fisher_flat"] = 0.5 * mean((mean.score.flatten(1) / scale).square().sum(1))
        if normalisation.log_z is None:
            return values
        log_q = -f - normalisation.log_z

        def put(key: str, of_rows: Tensor) -> None:
            """The mean, and its standard error where rows were drawn; log Z is the same for all of them."""
            error = mean.standard_error(of_rows)
            values[key] = mean(of_rows)
            if error is not None:
                values[f"{key}_se"] = math.hypot(error, normalisation.se)

        put("eval/nll", log_det - log_q)
        if mean.log_p is not None:
            put("eval/kl", mean.log_p - log_q)
            values["eval/log_density_mse"] = mean((mean.log_p - log_q).square())
        put("eval/nll_vs_gaussian", self._gaussian_log_p - log_q)
        if self._mixture_log_p is not None:
            put(MIXTURE, self._mixture_log_p - log_q)
        return values

    @cached_property
    def _gaussian_log_p(self) -> Tensor:
        """Log-density of the fitted Gaussian at the points of the expectation [N]."""
        with torch.no_grad():
            return in_chunks(self.data.fitted_gaussian.log_prob, self.data.expectation.u)

    @cached_property
    def _mixture_log_p(self) -> Tensor | None:
        """The same of the fitted mixture, where there is one."""
        mixture = self.data.fitted_mixture
        if mixture is None:
            return None
        with torch.no_grad():
            return in_chunks(mixture.log_prob, self.data.expectation.u)

    @cached_property
    def _data_modes(self) -> Tensor | None:
        density, quadrature = self.data.density, self.data.quadrature
        if quadrature is None or not isinstance(density, Target) or density.n_modes < 2:
            return None
        return self._mode_masses(quadrature)

    def _mode_masses(self, quadrature: Quadrature) -> Tensor:
        """Probability of each mode of the data's density under exp(−f)/Z [n_modes]."""
        density = self.data.density
        assert isinstance(density, Target)
        nodes, masses = quadrature.heaviest(UNLABELLED)
        with torch.no_grad():
            labels = density.modes(self.data.standardizer.inverse(nodes.view(-1, *self.data.dataset.shape)))
        return torch.zeros(density.n_modes, dtype=torch.float64).index_add_(0, labels.long(), masses)


def total_variation(p: Tensor, q: Tensor) -> float:
    """½ Σ_k |p_k − q_k| of two distributions over modes [n_modes]."""
    return 0.5 * float((p - q).abs().sum())


def counted_mode_tv(density: Target, model: Tensor, rows: Tensor) -> dict[str, Value]:
    """Mode TV by counting, where no sum over cells gives it: keys `eval/mode_tv` and its null.

    The null is the mode TV between as many data rows and the others.

    Args:
        density: the density of the data, with n_modes ≥ 2.
        model: independent samples of the model [N, *D], data units.
        rows: held-out rows [M, *D], data units. Nothing is returned for M ≤ N.
    """

    def share(x: Tensor) -> Tensor:
        return torch.bincount(density.modes(x), minlength=density.n_modes).double() / len(x)

    held_back, others = rows[: len(model)], rows[len(model) :]
    if len(others) == 0:
        return {}
    of_data = share(others)
    distances = [total_variation(share(x), of_data) for x in (model, held_back)]
    return {"eval/mode_tv": distances[0], "eval/mode_tv_null": distances[1]}


def with_learned_log_z(results: Results, learned: float) -> Results:
    """The results with `eval/log_z_learned`, and `eval/log_z_gap` = learned − independent where there is one, nats."""
    added: dict[str, Value] = {"eval/log_z_learned": learned}
    independent = results.values.get("eval/log_z")
    if isinstance(independent, float):
        added["eval/log_z_gap"] = learned - independent
    return replace(results, values=results.values | added)


def _worst_mode(data_modes: Tensor, model_modes: Tensor) -> tuple[str, ...]:
    """A sentence about the mode whose probability is furthest from the data's; none where no mode is far."""
    k = int((model_modes - data_modes).abs().argmax())
    has, should = float(model_modes[k]), float(data_modes[k])
    if not abs(has - should) > NOTEWORTHY:
        return ()
    return (f"mode {k} has {has:.3f} of the model's probability, and {should:.3f} of the data's",)
