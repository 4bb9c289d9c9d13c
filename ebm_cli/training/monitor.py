"""The monitored result of a run: its value decides on best.pt (`checkpointer`) and drives early stopping.

In one and two dimensions the divergences of synthetic data are integrals over their density, which use no rows: the
results are called `eval/…`, as in the final evaluation. Everywhere else they are means over the validation rows and are
called `val/…`: the test rows have no part in what is chosen. So are the results on a table whose density is known: a
table from a file has no density that could choose.

An energy with a reference, a normalised density that it bends, has log Z by importance sampling from that reference.
The draws are made once, with their log-density, and weighed at every evaluation: their error is then nearly the same at
each, and the choice is the same honest one for every method. It begins at step 0, where the energy is the reference, so
that no training ends worse than it began.
"""

from collections.abc import Callable
from functools import cache, cached_property

import torch

from ebm_cli.densities import Density, Gaussian
from ebm_cli.energies import evaluating
from ebm_cli.evaluation.annealing import anneal
from ebm_cli.evaluation.divergences import Divergences
from ebm_cli.evaluation.importance_sampling import BATCH, N_POINTS, Draws, draws_of, importance, with_log_prob
from ebm_cli.evaluation.log_z import Normalisation, by_annealing, by_importance
from ebm_cli.evaluation.objective import objective
from ebm_cli.evaluation.protocol import Protocol
from ebm_cli.evaluation.quadrature_grid import COARSE_GRID
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.values import Values
from ebm_cli.rng import generator
from ebm_cli.runs.instantiate import Parts

N_CHAINS = N_TEMPERATURES = 100
"""Size of an annealing during training."""
N_BATCHES = 4
"""Batches of draws of a reference, at most."""
TARGET = 0.005
"""Standard error of log Z, nats, from which one batch is enough: that of the mean over the rows is as large."""
NORMALISED = ("nll", "kl")
"""Monitored results that log Z is part of."""
LOCAL = ("objective", "fisher", "fisher_flat")
"""Results, of score matching and of its methods, that hardly see the weights of separate modes."""
MAX_ERROR = 0.05
"""Standard error of log Z, nats, above which it chooses no weights of an energy with a reference."""
N_OBJECTIVE = 500
"""Validation rows that the objective is averaged over: few rows are taken again and again, with new noise."""


class Monitor:
    """The cheap part of the evaluation, on rows that the final evaluation does not use.

    `monitor=auto` is the first of these that the data and the method allow, the same for all of a run:

        kl          the density is known (fisher if `metrics` leaves the density out)
        nll         log Z is an integral over the plane or a closed form, or the energy of a table has a reference
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

    @property
    def compares_start(self) -> bool:
        """True if the model before the first step is a candidate for best.pt: the reference that the energy bends."""
        return self._reference is not None

    def evaluate(self) -> dict[str, float]:
        """Every result that is cheap, for the weights that are in the energy now.

        Cost: divergences on the rows, and the objective. If the monitored result needs log Z in more than two
        dimensions, 16,384 energies for one with a reference, and up to four times as many; else a small annealing.
        """
        energy, method = self.parts.energy, self.parts.method
        with evaluating(energy):
            normalisation = self.divergences.normalise(energy)
            needs_log_z = self.name not in ("objective", "fisher")
            if normalisation.log_z is None and not self.divergences.data.is_on_grid and needs_log_z:
                normalisation = self._sampled()
            found = self.divergences(energy, normalisation).results
            if self.name == "objective" and method.has_comparable_loss:
                found |= Results({"eval/objective": objective(energy, method, self._rows(), self._rng("objective"))})
        numbers = {key: value for key, value in found.finite().values.items() if isinstance(value, float)}
        if not self.uses_validation_rows:
            return numbers
        return {key.replace("eval/", "val/"): value for key, value in numbers.items()}

    def value(self, results: Values) -> float | None:
        """The monitored number; None if it could not be computed.

        None, too, where an energy with a reference has left it so far that log Z is hardly known: chance would make the
        number low.
        """
        value = results.get(self.key)
        if not isinstance(value, float):
            return None
        error = results.get(f"{self.key.partition('/')[0]}/log_z_se")
        is_known = not isinstance(error, float) or error <= MAX_ERROR
        return value if is_known or not self.compares_start or self.name not in NORMALISED else None

    def _choose(self, protocol: Protocol) -> str:
        if self.divergences.data.is_known:
            return "kl" if "density" in protocol.metrics else "fisher"
        is_normalised = self.divergences.data.is_on_grid or self.parts.energy.log_z() is not None
        has_log_z = is_normalised or self._reference is not None
        return "nll" if has_log_z or not self.parts.method.has_comparable_loss else "objective"

    @property
    def _reference(self) -> Density | None:
        return self.parts.energy.reference if self.parts.dataset.is_table else None

    def _sampled(self) -> Normalisation:
        """log Z by importance sampling from the reference, where there is one that is near enough, or by annealing."""
        energy, reference = self.parts.energy, self._reference
        if reference is not None:
            found = importance(energy, self._draws, [self._points], target=TARGET, n_batches=N_BATCHES)
            if found.doubt is None:
                return by_importance(found)
        base, rng = reference or Gaussian(self.parts.dataset.reference), self._rng("glance")
        return by_annealing(lambda: anneal(energy, base, n_chains=N_CHAINS, n_temperatures=N_TEMPERATURES, rng=rng))

    @cached_property
    def _draws(self) -> Callable[[int], Draws]:
        """The batches of draws of the reference; each is made when it is first asked for, and kept."""
        reference, seed, device = self._reference, self.seed, self.parts.dataset.standardizer.device
        assert reference is not None
        return cache(lambda i: draws_of(reference, BATCH, generator(seed, f"evaluation/draws/{i}", device)))

    @cached_property
    def _points(self) -> Draws:
        """Validation rows with the reference's log-density."""
        assert self._reference is not None
        return with_log_prob(self._reference, self.parts.dataset.standardised_rows("validation", N_POINTS))

    def _rows(self) -> torch.Tensor:
        rows = self.divergences.data.rows.to(self.parts.dataset.standardizer.like)
        return rows[torch.arange(N_OBJECTIVE, device=rows.device) % len(rows)]

    def _rng(self, name: str) -> torch.Generator:
        """The same draws at every evaluation: their error is then nearly the same too, and the trend is the model's."""
        return generator(self.seed, f"evaluation/{name}", self.parts.dataset.standardizer.device)


def spans_phases(key: str) -> bool:
    """True if a monitored result sees what a second phase mends: its values in both phases can then be compared."""
    return key.rpartition("/")[2] not in LOCAL
