"""What a trained model is measured by, at the end of a run and by `ebm evaluate`: one protocol for both.

Six groups of results, each of which can be left out (`metrics`):

    density   log Z, KL, NLL, the error of log p, mode masses, the method's own objective on held-out rows
    score     Fisher divergence, kernel Stein discrepancy
    samples   distances between the model's samples and held-out rows, each beside its value between data and data
    chains    R̂, ESS and acceptance of the chains that drew them; the temperature of the method's own short chains
    features  of the samples: what a classifier of the data's classes says of them, and whether they are copies
    ood       how well the energy tells rows that are no data from held-out ones

The last two are for real data. Where the density of the data is known, the divergences say more than they do.
"""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ebm_cli.datasets import Dataset, Target
from ebm_cli.densities import Density, Gaussian
from ebm_cli.derivatives import value_and_grad
from ebm_cli.energies import Energy
from ebm_cli.evaluation.annealing import Annealed, anneal, anneal_back, bracket, resample
from ebm_cli.evaluation.divergences import Evaluator, with_learned_log_z
from ebm_cli.evaluation.features import class_results
from ebm_cli.evaluation.log_z import Normalisation, by_annealing, known
from ebm_cli.evaluation.memorisation import copying
from ebm_cli.evaluation.model_samples import Drawn, draw
from ebm_cli.evaluation.ood import detection
from ebm_cli.evaluation.protocol import Protocol
from ebm_cli.evaluation.quadrature import NotIntegrable
from ebm_cli.evaluation.stein import ksd, temperature
from ebm_cli.evaluation.two_sample import compare
from ebm_cli.methods import Method
from ebm_cli.rng import generator

Results = dict[str, Any]

N_SHORT = 2000
"""Ends of the method's own chains that its temperature is measured on, at least."""
N_START = 200
"""Temperatures of the annealing where log Z comes from elsewhere and chains only have to start in the right modes."""
CHUNK = 256
"""Rows in one call of a loss with second derivatives."""


@dataclass(frozen=True)
class Measured:
    """Results by their keys, why others are missing, sentences about them, and samples [N, *shape] in data units.

    `samples` is None where the protocol asks for none.
    """

    results: Results
    absent: dict[str, str]
    notes: tuple[str, ...]
    samples: Tensor | None


class Measurement:
    """One model under one protocol; what several results need is computed once.

    Args:
        energy: with the weights that are judged, in eval mode.
        method: for what it trained beside the energy.
        dataset: the data.
        protocol: how.
    """

    def __init__(self, energy: Energy, method: Method, dataset: Dataset, protocol: Protocol) -> None:
        self.energy, self.method, self.dataset, self.protocol = energy, method, dataset, protocol
        self.evaluator = Evaluator(dataset, protocol.n_samples)
        self.absent: dict[str, str] = {}
        self.notes: list[str] = []

    def run(self) -> Measured:
        """Every result that the protocol asks for."""
        asked = set(self.protocol.metrics)
        results: Results = {}
        samples = None
        if asked & {"density", "score"}:
            found = self._divergences()
            score = {key for key in found if key.startswith("eval/fisher")}
            results |= {k: v for k, v in found.items() if ("score" if k in score else "density") in asked}
        if "density" in asked and self.method.comparable:
            results["eval/objective"] = objective(self.energy, self.method, self._rows, self._rng("objective"))
        if "score" in asked:
            results |= self._stein()
        real = self.dataset.density is None
        if asked & {"samples", "chains"} or (real and "features" in asked):
            drawn = self._drawn()
            samples = self.dataset.standardizer.to_data_units(drawn.draws.flatten(0, 1)[: self.protocol.n_samples])
            results |= self._both_sides(results) if "density" in asked else {}
            if "samples" in asked:
                results |= self._distances(drawn) | self._mode_weights(drawn, results)
            if "chains" in asked:
                results |= drawn.results | self._temperature()
            if real and "features" in asked:
                results |= self._features(drawn)
        if "ood" in asked and (real or self.protocol.foreign is not None):
            results |= self._detection()
        if not results and not real:
            self.absent["eval"] = "the density of the data is known, and KL says more; metrics=[density] measures it"
        return Measured(*finite(results, self.absent), tuple(self.notes), samples)

    # --- density and score ---

    def _divergences(self) -> Results:
        normalisation = self.evaluator.normalise(self.energy)
        if normalisation.log_z is None and not self.evaluator.on_grid and "density" in self.protocol.metrics:
            normalisation = by_annealing(lambda: self.annealed)
        evaluation = self.evaluator(self.energy, normalisation)
        self.absent |= evaluation.absent
        self.notes += evaluation.notes
        results: Results = dict(evaluation.values)
        learned = self.method.learned_log_z()
        if learned is not None:
            results = with_learned_log_z(results, float(learned.detach()))
        for name, density in self.method.densities().items():
            found = self.evaluator(_energy_of(density), self._of_a_density(density)).values
            results |= {f"eval/{name}_{key}": found[f"eval/{key}"] for key in ("kl", "nll") if f"eval/{key}" in found}
        if evaluation.data_modes is not None and evaluation.model_modes is not None:
            worst = int((evaluation.model_modes - evaluation.data_modes).abs().argmax())
            has, should = float(evaluation.model_modes[worst]), float(evaluation.data_modes[worst])
            if abs(has - should) > 0.02:
                self.notes.append(
                    f"mode {worst} has {has:.3f} of the model's probability, and {should:.3f} of the data's"
                )
        return results

    def _both_sides(self, results: Results) -> Results:
        """Annealing beside an exact log Z; and where the model has exact samples, the bound from above as well."""
        if results.get("eval/log_z_method") not in ("exact", "grid"):
            return {}
        forward = self.annealed
        found: Results = {"eval/log_z_ais": forward.log_z, "eval/log_z_ais_se": forward.log_z_se}
        exact = self.energy.sample(self.protocol.n_chains, self._rng("exact"))
        if exact is not None:
            base = annealing_base(self.dataset, self.method, self.protocol.base)
            back = anneal_back(self.energy, base, exact, forward.plan, rng=self._rng("annealing_back"))
            found |= {"eval/log_z_ais_upper": back.log_z, "eval/log_z_ais_gap": bracket(forward, back).gap}
        return found

    def _of_a_density(self, density: Density) -> Normalisation | None:
        """In the plane its own sum, which shows a flow whose log-density is wrong; beyond, log Z = 0 as it says."""
        return None if self.evaluator.on_grid else known(0.0)

    def _stein(self) -> Results:
        rows = self._rows
        score = -torch.cat([value_and_grad(self.energy, part)[1] for part in torch.split(rows, CHUNK)])
        value, p = ksd(rows, score, self._rng("stein"))
        return {"eval/ksd": value, "eval/ksd_p": p}

    # --- samples and chains ---

    @cached_property
    def annealed(self) -> Annealed:
        """Chains carried from a known density to the model.

        Raises:
            NotIntegrable: the energy has no number somewhere on the way.
        """
        p = self.protocol
        base = annealing_base(self.dataset, self.method, p.base)
        elsewhere = self.evaluator.on_grid or self.energy.log_z() is not None
        n = min(p.n_temperatures, N_START) if elsewhere else p.n_temperatures
        return anneal(self.energy, base, n_chains=p.n_chains, n_temperatures=n, rng=self._rng("annealing"))

    def _drawn(self) -> Drawn:
        p = self.protocol
        return draw(self.energy, p.kernel, self._starts(), p.n_samples, p.burn_in, self._rng("chains"))

    def _starts(self) -> Tensor:
        """Where the chains begin [n_chains, *shape]: annealed points resampled by their weights, or wide noise."""
        p, like = self.protocol, self.dataset.standardizer.like
        if p.init == "annealed":
            try:
                return resample(self.annealed, p.n_chains, self._rng("starts"))
            except NotIntegrable as reason:
                self.notes.append(f"chains start at noise, since annealing failed: {reason}")
        size = (p.n_chains, *self.dataset.shape)
        return 2 * torch.randn(size, generator=self._rng("starts"), dtype=like.dtype, device=like.device)

    def _distances(self, drawn: Drawn) -> Results:
        """One position a chain, the last: those of different chains are independent of each other."""
        model = drawn.draws[-1]
        if not bool(torch.isfinite(model).all()):
            self.absent["eval/mmd"] = "some chains left the finite numbers"
            return {}
        try:
            found = compare(model.flatten(1), self._rows.flatten(1), self._rng("two_sample"))
        except ValueError as reason:
            self.absent["eval/mmd"] = str(reason)
            return {}
        results: Results = {}
        for name, distance in found.items():
            results |= {
                f"eval/{name}": distance.value,
                f"eval/{name}_null": distance.null,
                f"eval/{name}_p": distance.p,
            }
        return results

    def _features(self, drawn: Drawn) -> Results:
        """Of the chains' last positions too."""
        model = drawn.draws[-1]
        if not bool(torch.isfinite(model).all()):
            self.absent |= dict.fromkeys(
                ("eval/feature_distance", "eval/nn_ratio"), "some chains left the finite numbers"
            )
            return {}
        results: Results = {}
        # The classifier is small, and trained on the CPU: the same on every device.
        rng = generator(self.protocol.seed, "evaluation/features", torch.device("cpu"))
        try:
            found = class_results(model, self.dataset, self.protocol.n_samples, rng)
            results |= found.results
            self.notes += found.notes
        except ValueError as reason:
            self.absent["eval/feature_distance"] = str(reason)
        try:
            ratio = copying(model, self._rows, self.dataset, self._rng("copying"))
            results |= {"eval/nn_ratio": ratio.value, "eval/nn_ratio_se": ratio.error}
        except ValueError as reason:
            self.absent["eval/nn_ratio"] = str(reason)
        return results

    def _detection(self) -> Results:
        """Each kind of foreign rows by its name, and the one that the energy tells from the data least."""
        try:
            found = detection(self.energy, self._rows, self.dataset, self.protocol.foreign, self._rng("ood"))
        except ValueError as reason:
            self.absent["eval/ood_auroc"] = str(reason)
            return {}
        found["least"] = min(found.values())
        results: Results = {}
        for name, area in found.items():
            key = "eval/ood_auroc" if name == "least" else f"eval/ood_auroc_{name}"
            results |= {key: area.value, f"{key}_se": area.error}
        return results

    def _mode_weights(self, drawn: Drawn, results: Results) -> Results:
        """Beyond the plane, where no sum over cells gives them: by counting, beside the same of as many data rows."""
        density = self.dataset.density
        if "eval/mode_tv" in results or not isinstance(density, Target) or density.n_modes < 2:
            return {}

        def share(x: Tensor) -> Tensor:
            return torch.bincount(density.modes(x), minlength=density.n_modes).double() / len(x)

        to_data_units = self.dataset.standardizer.to_data_units
        rows, model = to_data_units(self._rows), to_data_units(drawn.draws[-1])
        held_back, others = rows[: len(model)], rows[len(model) :]
        if len(others) == 0:
            return {}
        truth = share(others)
        distances = [0.5 * float((share(x) - truth).abs().sum()) for x in (model, held_back)]
        return {"eval/mode_tv": distances[0], "eval/mode_tv_null": distances[1]}

    def _temperature(self) -> Results:
        """Of the points that stand for the model in a training step; nothing for a method that runs no chain."""
        ends: list[Tensor] = []
        generator = self._rng("temperature")
        for rows in self._batches():
            end = self.method.negatives(self.energy, rows, generator)
            if end is None:
                return {}
            ends.append(end)
        found = temperature(self.energy, torch.cat(ends))
        if found is None:
            self.absent["eval/chain_temperature"] = "the energy has no positive mean curvature at the chains' ends"
            return {}
        return {"eval/chain_temperature": found.value, "eval/chain_temperature_se": found.error}

    def _batches(self) -> Iterator[Tensor]:
        """Held-out rows in batches of the run's own size, N_SHORT rows and more in all."""
        size = min(self.protocol.batch_size, len(self._rows))
        for start in range(0, max(N_SHORT, size), size):
            yield self._rows[torch.arange(start, start + size, device=self._rows.device) % len(self._rows)]

    @cached_property
    def _rows(self) -> Tensor:
        """Held-out rows [N, *D] in standardised units, where the energy computes."""
        return self.dataset.standardised_rows("test", self.protocol.n_samples)

    def _rng(self, name: str) -> torch.Generator:
        return generator(self.protocol.seed, f"evaluation/{name}", self.dataset.standardizer.device)


def measure(energy: Energy, method: Method, dataset: Dataset, protocol: Protocol) -> Measured:
    """Every result of a model that the protocol asks for."""
    return Measurement(energy, method, dataset, protocol).run()


def objective(energy: Energy, method: Method, rows: Tensor, generator: torch.Generator) -> float:
    """The method's mean loss on rows [N, *D]. On a copy of it: a loss may count its steps, or write to a buffer."""
    method, total = copy.deepcopy(method), torch.zeros((), dtype=torch.float64)
    for part in torch.split(rows, CHUNK):
        total += method.loss(energy, part, generator).loss.detach().cpu().double() * len(part)
    return float(total / len(rows))


def annealing_base(dataset: Dataset, method: Method, base: str) -> Density:
    """The density that annealing starts from: the method's proposal if it is asked for and there, else the Gaussian."""
    proposal = method.proposal() if base == "method" else None
    return Gaussian(dataset.reference) if proposal is None else proposal


def finite(results: Results, absent: dict[str, str]) -> tuple[Results, dict[str, str]]:
    """Results without numbers that are not finite; these are absent, and why."""
    bad = {key: value for key, value in results.items() if isinstance(value, float) and not math.isfinite(value)}
    kept = {key: value for key, value in results.items() if key not in bad}
    return kept, absent | {key: f"its value is {value}" for key, value in bad.items()}


def _energy_of(density: Density) -> Callable[[Tensor], Tensor]:
    return lambda u: -density.log_prob(u)
