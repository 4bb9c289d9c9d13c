"""The model that is evaluated, with everything that several metric groups need; each part is computed once."""

import math
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ebm_cli.datasets import Dataset
from ebm_cli.densities import Density, Gaussian
from ebm_cli.energies import Energy
from ebm_cli.evaluation.annealing import Annealed, anneal, resample
from ebm_cli.evaluation.annealing_schedule import FADE
from ebm_cli.evaluation.crossing import crossed, tempered_kernel
from ebm_cli.evaluation.divergences import DivergenceResult, Divergences
from ebm_cli.evaluation.expectation import MOST_COLUMNS
from ebm_cli.evaluation.importance_sampling import (
    BATCH,
    N_POINTS,
    TARGET,
    Draws,
    Importance,
    batches_for,
    draws_of,
    importance,
    with_log_prob,
)
from ebm_cli.evaluation.log_z import Normalisation, by_annealing, by_importance
from ebm_cli.evaluation.model_samples import Drawn, draw
from ebm_cli.evaluation.not_integrable import NotIntegrable
from ebm_cli.evaluation.proposals import defensive_mixture
from ebm_cli.evaluation.protocol import Protocol
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.shared import anneal_together, are_shared, draw_together, n_sharing
from ebm_cli.evaluation.two_sample import MIN_ROWS
from ebm_cli.methods import Method
from ebm_cli.rng import generator
from ebm_cli.samplers import warm_up, wide_starts
from ebm_cli.samplers.mala import MALA
from ebm_cli.system.ranks import ONE, Ranks

N_START = 200
"""Temperatures of the annealing where log Z comes from elsewhere and chains only have to start in the right modes."""


MOVES = 100
"""Steps that spread points over the model before a density is fitted to them."""


class Context:
    """One model under one protocol.

    Each cached part is computed when a metric group first reads it, and stored.

    Args:
        energy: with the weights that are evaluated, in eval mode.
        method: for what it trained besides the energy.
        dataset: the data.
        protocol: which metric groups, and with which sizes.
        second: the objective of a second phase; None without.
        ranks: the processes that share annealing and chains. The first one has the results; the others `serve` it.
    """

    def __init__(
        self,
        energy: Energy,
        method: Method,
        dataset: Dataset,
        protocol: Protocol,
        second: Method | None = None,
        ranks: Ranks = ONE,
    ) -> None:
        self.energy, self.method, self.dataset, self.protocol = energy, method, dataset, protocol
        self.second, self.ranks = second, ranks
        self.divergences = Divergences(dataset, protocol.n_samples)
        self._annealings: dict[int, Annealed | NotIntegrable] = {}

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
        """log Z of the energy; by sampling where there is no exact one and `density` is asked."""
        if self._has_log_z or not self.is_asked("density"):
            return self.divergences.normalise(self.energy)
        return by_importance(self.weighted) if self.weighted is not None else by_annealing(lambda: self.annealed)

    @cached_property
    def weighted(self) -> Importance | None:
        """Weighted draws of a density close to the model, where the protocol leaves the choice open.

        Of the energy's reference. Without one, if log Z is not known otherwise, of a mixture fitted to the training
        rows. Points that a short annealing from the Gaussian has carried to the model must not have larger weights
        either: a mode of the model that no row has would be lost. Where the weights are in doubt, of a mixture fitted
        to these points and to the draws of largest weight, which a kernel has spread over the model: what few of the
        first draws found is then drawn often. Source: Cappé et al. (2004), JCGS 13(4), for such a population.

        None where there is no such density, or its weights are in doubt.
        """
        if self.protocol.base != "auto":
            return None
        rows, reference = self.dataset.reference[:N_POINTS], self.energy.reference
        if reference is not None:
            return self._weigh(reference, [rows]).trusted
        if self._has_log_z or not self.is_asked("density") or len(rows.shape) > 2 or rows.shape[1] > MOST_COLUMNS:
            return None
        try:
            annealed = resample(self._anneal(self._n_start), N_POINTS, self.rng("points"))
        except NotIntegrable:
            return None
        found = self._weigh(defensive_mixture(self.dataset.reference), [rows, annealed])
        if found.doubt is None or not found.ess:
            return found.trusted
        moved = torch.cat([annealed, found.resample(N_POINTS, self.rng("points/heavy"))])
        moved = warm_up(MALA(), self.energy, moved, MOVES, self.rng("points/moved"))[1].x
        return self._weigh(defensive_mixture(moved), [rows, moved]).trusted

    def _weigh(self, density: Density, points: list[Tensor]) -> Importance:
        def batch(i: int) -> Draws:
            return draws_of(density, BATCH, self.rng(f"importance/{i}"))

        known = [with_log_prob(density, x) for x in points]
        n = 1 if self._has_log_z or not self.is_asked("density") else batches_for(self.energy)
        return importance(self.energy, batch, known, target=TARGET, n_batches=n)

    @property
    def _has_log_z(self) -> bool:
        """True if log Z is a closed form, or a sum over cells."""
        return self.divergences.data.is_on_grid or self.energy.log_z() is not None

    @cached_property
    def divergence_result(self) -> DivergenceResult:
        """The divergences of the energy with this log Z."""
        return self.divergences(self.energy, self.normalisation)

    @cached_property
    def annealing_base(self) -> Density:
        """The density that annealing starts from: what the protocol asks for, the method's proposal or the Gaussian.

        Where it leaves the choice open, the energy's reference. What is not there is replaced by the Gaussian, which is
        fitted to the training rows.
        """
        base = self.protocol.base
        found = self.method.proposal() if base == "method" else self.energy.reference if base == "auto" else None
        return Gaussian(self.dataset.reference) if found is None else found

    @property
    def annealed(self) -> Annealed:
        """Chains carried from a known density to the model.

        Raises:
            NotIntegrable: annealing gives no log Z; the message gives the reason.
        """
        is_known = self._has_log_z or self.weighted is not None
        return self._anneal(self._n_start if is_known else self.protocol.n_temperatures)

    @property
    def _n_start(self) -> int:
        return min(self.protocol.n_temperatures, N_START)

    def _anneal(self, n_temperatures: int) -> Annealed:
        """An annealing of this many temperatures; each runs once."""
        if n_temperatures not in self._annealings:
            self._annealings[n_temperatures] = self._annealing(n_temperatures)
        found = self._annealings[n_temperatures]
        if isinstance(found, NotIntegrable):
            raise found
        return found

    def _annealing(self, n_temperatures: int) -> Annealed | NotIntegrable:
        base, n, rng = self.annealing_base, self.protocol.n_chains, self.rng("annealing")
        # A reference is close to the model, and has its modes: nothing is gained by spreading it out first.
        fade = math.inf if base is self.energy.reference else FADE
        try:
            # The others may not have what a method has trained.
            if are_shared(n, self.ranks) and self.protocol.base != "method":
                self._ask({"n_temperatures": n_temperatures})
                own = self.rng(self.ranks.stream("annealing"))
                return anneal_together(
                    self.energy,
                    base,
                    self.ranks,
                    n_chains=n,
                    n_temperatures=n_temperatures,
                    fade=fade,
                    rng=rng,
                    own=own,
                )
            return anneal(self.energy, base, n_chains=n, n_temperatures=n_temperatures, fade=fade, rng=rng)
        except NotIntegrable as reason:
            return reason

    def _ask(self, task: dict[str, Any]) -> None:
        """Have the other processes do their part of what this one is about to do."""
        if self.ranks.is_first:
            self.ranks.announce(task)

    def serve(self) -> None:
        """Do what the first process asks for, in another one, until its evaluation is done."""
        while (task := self.ranks.announce(None)) is not None:
            if "starts" in task:
                starts = task["starts"].to(self.dataset.standardizer.device)
                self._chains(starts, jumps=task["jumps"], is_tempered=task["is_tempered"])
            else:
                self._annealing(task["n_temperatures"])

    @cached_property
    def drawn(self) -> Drawn:
        """Samples of the model by chains, with their diagnostics; by tempered ones where these have not mixed."""
        starts, notes = self._starts()
        found = self._chains(starts, jumps=self._starts_at_reference)
        found = crossed(
            found, self.energy, self.protocol, starts, lambda n: self._chains(starts[:n], jumps=False, is_tempered=True)
        )
        if (size := n_sharing(len(starts), self.ranks)) > 1:
            notes = (*notes, f"Chains were shared by {size} processes, each with random numbers of its own.")
        return replace(found, results=found.results | Results(notes=notes))

    def _chains(self, starts: Tensor, *, jumps: bool, is_tempered: bool = False) -> Drawn:
        """Samples by chains from these starts, shared by the processes if there are several.

        Args:
            starts: [n_chains, *shape].
            jumps: whether chains jump by proposals of the energy's reference.
            is_tempered: whether they are those that follow where the first have not mixed.
        """
        p, name = self.protocol, "chains/crossing" if is_tempered else "chains"
        kernel, reference = tempered_kernel(p.kernel) if is_tempered else p.kernel, self.energy.reference
        density = reference if jumps else None
        if not are_shared(len(starts), self.ranks):
            return draw(self.energy, kernel, starts, p.n_samples, p.burn_in, self.rng(name), density)
        self._ask({"starts": starts.cpu(), "jumps": jumps, "is_tempered": is_tempered})
        own = self.rng(self.ranks.stream(name))
        return draw_together(self.energy, kernel, starts, p.n_samples, p.burn_in, self.ranks, own, density)

    def _starts(self) -> tuple[Tensor, tuple[str, ...]]:
        """First points of the chains [n_chains, *shape], and notes.

        Draws of the energy's reference by their weights, or annealed points by theirs, or wide noise.
        """
        p, like = self.protocol, self.dataset.standardizer.like
        notes: tuple[str, ...] = ()
        if p.init == "annealed":
            if self._starts_at_reference and self.weighted is not None:
                return self.weighted.resample(p.n_chains, self.rng("starts")), notes
            try:
                return resample(self.annealed, p.n_chains, self.rng("starts")), notes
            except NotIntegrable as reason:
                notes = (f"chains start at noise, since annealing failed: {reason}",)
        return wide_starts(like, p.n_chains, self.rng("starts")), notes

    @property
    def _starts_at_reference(self) -> bool:
        """True if chains start at weighted draws of the energy's reference, and jump by its proposals."""
        is_bent = self.protocol.init == "annealed" and self.energy.reference is not None
        return is_bent and self.weighted is not None

    @property
    def samples(self) -> Tensor | None:
        """At most n_samples samples of the model [N, *shape], data units; None while no metric group has drawn any."""
        if "drawn" not in vars(self):
            return None
        return self.dataset.standardizer.to_data_units(self.drawn.draws.flatten(0, 1)[: self.protocol.n_samples])
