"""What can be compared between runs: each result's name, meaning, and which way is better."""

import math
from dataclasses import dataclass
from typing import Literal

from ebm_cli.runs.record import Record

Goal = Literal["low", "high", "half", "none"]


@dataclass(frozen=True)
class Measure:
    """A column of a comparison. Called on a run it gives the run's value; None where the run has none.

    Args:
        key: of results.json; `cost/steps` is the run's own step.
        label: as a column's head.
        meaning: what it is, with its unit.
        goal: low, high or half (the nearest to 0.5) is better, or none is.
        magnitude: compare sizes, for a result whose sign only says which side it errs on.
        positive: a result that a logarithmic axis suits.
    """

    key: str
    label: str
    meaning: str
    goal: Goal = "low"
    magnitude: bool = False
    positive: bool = True

    def __call__(self, record: Record) -> float | None:
        if self.key == "cost/steps":
            return None if record.step is None else float(record.step)
        value = _number(record, self.key)
        return abs(value) if value is not None and self.magnitude else value

    @property
    def ranks(self) -> bool:
        """Whether one value of it is better than another."""
        return self.goal != "none"

    def score(self, value: float) -> float:
        """A number that is lower where the value is better."""
        return {"low": value, "high": -value, "half": abs(value - 0.5), "none": 0.0}[self.goal]

    @property
    def superlative(self) -> str:
        """What the best of it is called."""
        return {"low": "the lowest", "high": "the highest", "half": "the nearest to 0.5", "none": "the"}[self.goal]

    def floor(self, record: Record) -> float | None:
        """What the data themselves would get: the entropy for nll, the value between two samples for a distance."""
        null = "eval/entropy" if self.key == "eval/nll" else f"{self.key}_null"
        return 0.5 if self.goal == "half" and null not in record.results else _number(record, null)


QUALITIES = (
    Measure("eval/kl", "KL", "KL(p_data‖p_θ), nats"),
    Measure("eval/nll", "NLL", "negative log-likelihood of held-out rows, nats", positive=False),
    Measure(
        "eval/nll_vs_gaussian",
        "vs Gaussian",
        "NLL minus that of the Gaussian fitted to the training rows, nats",
        positive=False,
    ),
    Measure("eval/log_density_mse", "log-density MSE", "E_data (log p − log p_θ)², nats²"),
    Measure("eval/fisher", "Fisher", "Fisher divergence E_data ‖∇ log p − ∇ log p_θ‖², 1/unit²"),
    Measure("eval/mode_tv", "mode TV", "total variation between the mode masses of data and model"),
    Measure("eval/log_z_gap", "|log Z gap|", "|trained log Z − independent log Z|, nats", magnitude=True),
    Measure("eval/ksd", "KSD", "kernel Stein discrepancy"),
    Measure("eval/mmd", "MMD", "maximum mean discrepancy between samples and held-out rows"),
    Measure("eval/energy_distance", "energy dist.", "energy distance between samples and held-out rows"),
    Measure("eval/sliced_wasserstein", "sliced W", "sliced Wasserstein distance between samples and held-out rows"),
    Measure("eval/c2st", "C2ST", "accuracy of a classifier between samples and held-out rows", "half"),
    Measure("eval/flow_kl", "flow KL", "KL(p_data‖q) of the trained flow, nats"),
    Measure(
        "eval/ood_auroc", "OOD AUROC", "how well the energy tells rows that are no data from held-out ones", "high"
    ),
    Measure(
        "eval/coverage",
        "coverage",
        "share of the classes of which the samples have a fifth of the held-out rows' share, or more",
        "high",
    ),
    Measure(
        "eval/feature_distance",
        "feature dist.",
        "Fréchet distance between samples and held-out rows in a classifier's features",
    ),
    Measure("eval/class_tv", "class TV", "total variation between the class shares of samples and of held-out rows"),
)
"""The columns of quality, in the order in which they rank."""

COSTS = (
    Measure("cost/steps", "steps", "training steps", "none"),
    Measure("cost/seconds", "seconds", "training time, s"),
    Measure("cost/energy_evals", "f", "evaluations of the energy a step, per data row"),
    Measure("cost/grad_evals", "∇f", "evaluations of ∇ₓf a step, per data row"),
    Measure("cost/laplacian_evals", "Δf", "evaluations of second derivatives in x a step, per data row"),
    Measure("cost/peak_memory_mb", "memory", "peak memory of the training, MB"),
)

_OTHERS = (
    Measure("eval/nn_ratio", "nn ratio", "distance to the nearest training row, samples over held-out rows", "none"),
    Measure("eval/classifier_accuracy", "accuracy", "of the classifier whose features are used", "none"),
    *(
        Measure(f"eval/ood_auroc_{name}", f"AUROC {name}", f"AUROC of the energy against {rows}", "high")
        for name, rows in (
            ("uniform", "uniform noise in the data's box"),
            ("shuffled", "rows whose values are out of place"),
            ("other", "rows of another data set"),
        )
    ),
    Measure("eval/flow_nll", "flow NLL", "negative log-likelihood of held-out rows under the flow", positive=False),
    Measure("sampler/ess_bulk", "ESS", "bulk effective sample size of the evaluation's chains", "high"),
    Measure("sampler/ess_tail", "tail ESS", "tail effective sample size of the evaluation's chains", "high"),
    Measure("sampler/ess_per_grad", "ESS/∇f", "effective samples for each evaluation of ∇ₓf", "high"),
    Measure("sampler/ess_per_second", "ESS/s", "effective samples a second", "high"),
    Measure("sampler/rhat", "R-hat", "split rank-normalised R̂ of the evaluation's chains"),
)
_KNOWN = {measure.key: measure for measure in (*QUALITIES, *COSTS, *_OTHERS)}
_UNRANKED = ("eval/log_z", "eval/log_z_learned", "eval/entropy", "eval/border_mass")


def measure_of(key: str) -> Measure:
    """The measure of a result; one that is not known is better lower under `eval/` and `cost/`, and not ranked else."""
    ranked = key.startswith(("eval/", "cost/")) and key not in _UNRANKED and not key.endswith(("_null", "_se", "_p"))
    name = key.partition("/")[2] or key
    return _KNOWN.get(key) or Measure(key, name, "", "low" if ranked else "none", positive=False)


def _number(record: Record, key: str) -> float | None:
    value = record.results.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return None
    return float(value)
