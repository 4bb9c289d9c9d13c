"""The model that is evaluated, with everything that several metric groups need; each part is computed once."""

from functools import cached_property

import torch
from torch import Tensor

from ebm_cli.datasets import Dataset
from ebm_cli.densities import Density, Gaussian
from ebm_cli.energies import Energy
from ebm_cli.evaluation.annealing import Annealed, anneal, resample
from ebm_cli.evaluation.divergences import DivergenceResult, Divergences
from ebm_cli.evaluation.log_z import Normalisation, by_annealing
from ebm_cli.evaluation.model_samples import Drawn, draw
from ebm_cli.evaluation.not_integrable import NotIntegrable
from ebm_cli.evaluation.protocol import Protocol
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.two_sample import MIN_ROWS
from ebm_cli.methods import Method
from ebm_cli.rng import generator
from ebm_cli.samplers import wide_starts

N_START = 200
"""Temperatures of the annealing where log Z comes from elsewhere and chains only have to start in the right modes."""


class Context:
    """One model under one protocol.

    Each cached part is computed when a metric group first reads it, and stored.

    Args:
        energy: with the weights that are evaluated, in eval mode.
        method: for what it trained besides the energy.
        dataset: the data.
        protocol: which metric groups, and with which sizes.
    """

    def __init__(self, energy: Energy, method: Method, dataset: Dataset, protocol: Protocol) -> None:
        self.energy, self.method, self.dataset, self.protocol = energy, method, dataset, protocol
        self.divergences = Divergences(dataset, protocol.n_samples)

    def rng(self, name: str) -> torch.Generator:
        """A generator on the data's device for this name: each use has its own stream of random numbers."""
        return generator(self.protocol.seed, f"evaluation/{name}", self.dataset.standardizer.device)

    def is_asked(self, *names: str) -> bool:
        """True if the protocol names one of these metric groups."""
        return not self.protocol.names.isdisjoint(names)

    @property
    def is_real(self) -> bool:
        """True if the data are real: their density is unknown."""
        return self.dataset.density is None

    @property
    def is_sampling(self) -> bool:
        """True if a metric group of this package asks for samples."""
        return self.is_asked("samples", "chains") or (self.is_real and self.is_asked("features"))

    @cached_property
    def rows(self) -> Tensor:
        """Held-out rows [N, *D] in standardised units, where the energy computes."""
        return self.dataset.standardised_rows("test", self.protocol.n_samples)

    @property
    def few_rows(self) -> str | None:
        """Why a comparison with so few held-out rows means nothing; None where there are enough."""
        n = len(self.rows)
        return None if n >= MIN_ROWS else f"too few held-out rows: {n}, and {MIN_ROWS} are needed"

    @cached_property
    def normalisation(self) -> Normalisation:
        """log Z of the energy, by annealing where there is no exact one and `density` is asked."""
        normalisation = self.divergences.normalise(self.energy)
        if normalisation.log_z is None and not self.divergences.data.is_on_grid and self.is_asked("density"):
            normalisation = by_annealing(lambda: self.annealed)
        return normalisation

    @cached_property
    def divergence_result(self) -> DivergenceResult:
        """The divergences of the energy with this log Z."""
        return self.divergences(self.energy, self.normalisation)

    @cached_property
    def annealing_base(self) -> Density:
        """The density that annealing starts from: the method's proposal if the protocol asks for it, else the Gaussian.

        The Gaussian is fitted to the training rows; a method without a proposal has it too.
        """
        proposal = self.method.proposal() if self.protocol.base == "method" else None
        return Gaussian(self.dataset.reference) if proposal is None else proposal

    @property
    def annealed(self) -> Annealed:
        """Chains carried from a known density to the model.

        Raises:
            NotIntegrable: annealing gives no log Z; the message gives the reason.
        """
        if isinstance(self._annealing, NotIntegrable):
            raise self._annealing
        return self._annealing

    @cached_property
    def _annealing(self) -> Annealed | NotIntegrable:
        p = self.protocol
        has_log_z = self.divergences.data.is_on_grid or self.energy.log_z() is not None
        n = min(p.n_temperatures, N_START) if has_log_z else p.n_temperatures
        try:
            return anneal(
                self.energy, self.annealing_base, n_chains=p.n_chains, n_temperatures=n, rng=self.rng("annealing")
            )
        except NotIntegrable as reason:
            return reason

    @cached_property
    def drawn(self) -> Drawn:
        """Samples of the model by chains, with their diagnostics."""
        p = self.protocol
        starts, notes = self._starts()
        found = draw(self.energy, p.kernel, starts, p.n_samples, p.burn_in, self.rng("chains"))
        return Drawn(found.draws, found.results | Results(notes=notes))

    def _starts(self) -> tuple[Tensor, tuple[str, ...]]:
        """First points of the chains [n_chains, *shape], and notes: annealed points by their weights, or wide noise."""
        p, like = self.protocol, self.dataset.standardizer.like
        notes: tuple[str, ...] = ()
        if p.init == "annealed":
            try:
                return resample(self.annealed, p.n_chains, self.rng("starts")), notes
            except NotIntegrable as reason:
                notes = (f"chains start at noise, since annealing failed: {reason}",)
        return wide_starts(like, p.n_chains, self.rng("starts")), notes

    @property
    def samples(self) -> Tensor | None:
        """At most n_samples samples of the model [N, *shape], data units; None while no metric group has drawn any."""
        if "drawn" not in vars(self):
            return None
        return self.dataset.standardizer.to_data_units(self.drawn.draws.flatten(0, 1)[: self.protocol.n_samples])
