"""What a run looks at while it trains: the result that chooses `best.pt` and ends training early.

In one and two dimensions the measures of synthetic data are sums over their density, into which no rows enter: they are
called `eval/…`, as in the final evaluation. Everywhere else they are means over the validation rows, and are called
`val/…`: the test rows have no part in what is kept.
"""

import torch

from ebm_cli.densities import Gaussian
from ebm_cli.evaluation.annealing import anneal
from ebm_cli.evaluation.divergences import Evaluator
from ebm_cli.evaluation.log_z import by_annealing
from ebm_cli.evaluation.protocol import Protocol
from ebm_cli.evaluation.quadrature import COARSE
from ebm_cli.evaluation.suite import Results, finite, objective
from ebm_cli.rng import generator
from ebm_cli.runs.instantiate import Parts

GLANCE = 100
"""Chains and temperatures of an annealing during training."""
N_OBJECTIVE = 500
"""Validation rows that the objective is averaged over: few rows are taken again and again, with new noise."""
RESULTS = ("kl", "nll", "fisher")
"""What `monitor=auto` may have meant in a results.json, the first that is there."""


class Watch:
    """The cheap part of the evaluation, of rows that the final one does not take.

    `monitor=auto` is the first of these that the data and the method allow, the same for all of a run:

        kl          the density is known (fisher where `metrics` leaves the density out)
        nll         log Z is a sum over the plane or a closed form
        objective   the method's own loss on validation rows, where it says how good an energy is
        nll         with log Z by a small annealing, which may fail

    Args:
        parts: what is trained.
        protocol: of the final evaluation.
        monitor: auto, or eval/NAME or val/NAME; the two are the same, since what is watched is never a test row.
    """

    def __init__(self, parts: Parts, protocol: Protocol, monitor: str) -> None:
        self.parts, self.seed = parts, protocol.seed
        self.evaluator = Evaluator(parts.dataset, protocol.n_samples, COARSE, part="validation")
        self.name = self._chosen(protocol) if monitor == "auto" else monitor.rpartition("/")[2]
        self.key = f"{'eval' if self.evaluator.exact else 'val'}/{self.name}"

    @property
    def by_rows(self) -> bool:
        """Whether the validation rows enter, so that the final evaluation says something else."""
        return not self.evaluator.exact

    def look(self) -> Results:
        """Every number that is cheap, for the weights that are in the energy now.

        Cost: divergences on the rows, and the objective; a small annealing only if what is monitored needs log Z.
        """
        energy, method = self.parts.energy, self.parts.method
        training = energy.training
        # Batch statistics, dropout and the iterations of a spectral norm belong to training: looking changes nothing.
        energy.eval()
        normalisation = self.evaluator.normalise(energy)
        if normalisation.log_z is None and not self.evaluator.on_grid and self.name not in ("objective", "fisher"):
            base = Gaussian(self.parts.dataset.reference)
            normalisation = by_annealing(
                lambda: anneal(energy, base, n_chains=GLANCE, n_temperatures=GLANCE, rng=self._rng("glance"))
            )
        found: Results = dict(self.evaluator(energy, normalisation).values)
        if self.name == "objective" and method.comparable:
            found["eval/objective"] = objective(energy, method, self._rows(), self._rng("objective"))
        energy.train(training)
        numbers = {key: value for key, value in finite(found, {})[0].items() if isinstance(value, float)}
        return {key.replace("eval/", "val/"): value for key, value in numbers.items()} if self.by_rows else numbers

    def value(self, results: Results) -> float | None:
        """The number that is monitored; None where it could not be had."""
        value = results.get(self.key)
        return float(value) if isinstance(value, float) else None

    def _chosen(self, protocol: Protocol) -> str:
        known, method = self.parts.dataset.density is not None, self.parts.method
        if known:
            return "kl" if "density" in protocol.metrics else "fisher"
        normalised = self.evaluator.on_grid or self.parts.energy.log_z() is not None
        return "nll" if normalised or not method.comparable else "objective"

    def _rows(self) -> torch.Tensor:
        rows = self.evaluator.rows.to(self.parts.dataset.standardizer.like)
        return rows[torch.arange(N_OBJECTIVE, device=rows.device) % len(rows)]

    def _rng(self, name: str) -> torch.Generator:
        """The same draws at every look: their error is then nearly the same too, and the trend is the model's."""
        return generator(self.seed, f"evaluation/{name}", self.parts.dataset.standardizer.device)


def monitored(monitor: str, results: Results) -> float | None:
    """What a finished run was judged by, from its results alone."""
    names = RESULTS if monitor == "auto" else (monitor.rpartition("/")[2],)
    watched = [key for key in results if key.startswith("val/") and (monitor == "auto" or key[4:] in names)]
    found = (results.get(key) for key in (*watched, *(f"eval/{name}" for name in names)))
    return next((float(value) for value in found if isinstance(value, float)), None)
