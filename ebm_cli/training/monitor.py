"""The monitored result of a run: its value decides on best.pt (`checkpointer`) and drives early stopping.

In one and two dimensions the divergences of synthetic data are integrals over their density, which use no rows: the
results are called `eval/…`, as in the final evaluation. Everywhere else they are means over the validation rows and are
called `val/…`: the test rows have no part in what is chosen.
"""

import torch

from ebm_cli.densities import Gaussian
from ebm_cli.energies import evaluating
from ebm_cli.evaluation.annealing import anneal
from ebm_cli.evaluation.divergences import Divergences
from ebm_cli.evaluation.log_z import by_annealing
from ebm_cli.evaluation.objective import objective
from ebm_cli.evaluation.protocol import Protocol
from ebm_cli.evaluation.quadrature_grid import COARSE_GRID
from ebm_cli.evaluation.result_registry import MONITORED
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.values import Values
from ebm_cli.rng import generator
from ebm_cli.runs.instantiate import Parts

N_CHAINS = N_TEMPERATURES = 100
"""Size of an annealing during training."""
N_OBJECTIVE = 500
"""Validation rows that the objective is averaged over: few rows are taken again and again, with new noise."""


class Monitor:
    """The cheap part of the evaluation, on rows that the final evaluation does not use.

    `monitor=auto` is the first of these that the data and the method allow, the same for all of a run:

        kl          the density is known (fisher if `metrics` leaves the density out)
        nll         log Z is an integral over the plane or a closed form
        objective   the method's own loss on validation rows, if it says how good an energy is
        nll         with log Z by a small annealing, which may fail

    Args:
        parts: what is trained.
        protocol: of the final evaluation.
        monitor: auto, eval/NAME or val/NAME; the last two are the same, since test rows are never used.

    Attributes:
        name: of the monitored result, without its group.
        key: of the monitored result.
    """

    def __init__(self, parts: Parts, protocol: Protocol, monitor: str) -> None:
        self.parts, self.seed = parts, protocol.seed
        self.divergences = Divergences(parts.dataset, protocol.n_samples, COARSE_GRID, part="validation")
        self.name = self._choose(protocol) if monitor == "auto" else monitor.rpartition("/")[2]
        self.key = f"{'val' if self.uses_validation_rows else 'eval'}/{self.name}"

    @property
    def uses_validation_rows(self) -> bool:
        """True if validation rows are used, so that the final evaluation gives other numbers."""
        return not self.divergences.data.is_exact

    def evaluate(self) -> dict[str, float]:
        """Every result that is cheap, for the weights that are in the energy now.

        Cost: divergences on the rows, and the objective; a small annealing only if the monitored result needs log Z.
        """
        energy, method = self.parts.energy, self.parts.method
        with evaluating(energy):
            normalisation = self.divergences.normalise(energy)
            needs_log_z = self.name not in ("objective", "fisher")
            if normalisation.log_z is None and not self.divergences.data.is_on_grid and needs_log_z:
                base, rng = Gaussian(self.parts.dataset.reference), self._rng("glance")
                normalisation = by_annealing(
                    lambda: anneal(energy, base, n_chains=N_CHAINS, n_temperatures=N_TEMPERATURES, rng=rng)
                )
            found = self.divergences(energy, normalisation).results
            if self.name == "objective" and method.has_comparable_loss:
                found |= Results({"eval/objective": objective(energy, method, self._rows(), self._rng("objective"))})
        numbers = {key: value for key, value in found.finite().values.items() if isinstance(value, float)}
        if not self.uses_validation_rows:
            return numbers
        return {key.replace("eval/", "val/"): value for key, value in numbers.items()}

    def value(self, results: Values) -> float | None:
        """The monitored number; None if it could not be computed."""
        value = results.get(self.key)
        return float(value) if isinstance(value, float) else None

    def _choose(self, protocol: Protocol) -> str:
        if self.divergences.data.is_known:
            return "kl" if "density" in protocol.metrics else "fisher"
        is_normalised = self.divergences.data.is_on_grid or self.parts.energy.log_z() is not None
        return "nll" if is_normalised or not self.parts.method.has_comparable_loss else "objective"

    def _rows(self) -> torch.Tensor:
        rows = self.divergences.data.rows.to(self.parts.dataset.standardizer.like)
        return rows[torch.arange(N_OBJECTIVE, device=rows.device) % len(rows)]

    def _rng(self, name: str) -> torch.Generator:
        """The same draws at every evaluation: their error is then nearly the same too, and the trend is the model's."""
        return generator(self.seed, f"evaluation/{name}", self.parts.dataset.standardizer.device)


def monitored_value(monitor: str, results: Values) -> float | None:
    """The value that a finished run was monitored by, from its results alone; None if there is none."""
    names = MONITORED if monitor == "auto" else (monitor.rpartition("/")[2],)
    validation = [key for key in results if key.startswith("val/") and (monitor == "auto" or key[4:] in names)]
    found = (results.get(key) for key in (*validation, *(f"eval/{name}" for name in names)))
    return next((float(value) for value in found if isinstance(value, float)), None)
