"""The metric group of the simple estimators that an energy has to beat, where the density of the data is known.

    metrics=[density,{_target_: ebm_cli.evaluation.simple_estimators.Baselines, seconds: 30}]

KL(p ‖ q) is the mean of log p − log q over held-out rows, for a mixture of Gaussians (components by BIC), a kernel
density estimate (at most six dimensions) and a spline flow, each fitted to the training rows alone.
"""

import math
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from ebm_cli.datasets import Dataset
from ebm_cli.densities.mixture_by_bic import mixture_by_bic
from ebm_cli.evaluation.batched import in_chunks
from ebm_cli.evaluation.context import Context
from ebm_cli.evaluation.expectation import reference_copy
from ebm_cli.evaluation.kernel_density import KernelDensity
from ebm_cli.evaluation.metric_group import MetricGroup
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.spline_flow import fit_spline_flow

MOST_KERNEL_DIMENSIONS = 6
N_VALIDATION = 100_000
BEST = "eval/kl_best_baseline"


@final
class Baselines(MetricGroup):
    """KL of the simple estimators: `eval/kl_mixture`, `eval/kl_kde`, `eval/kl_flow` and the lowest of them.

    Args:
        seconds: wall time that the flow may take, > 0: that of the energy's training, for a fair comparison.

    Raises:
        ValueError: seconds out of its range.
    """

    def __init__(self, seconds: float = 30.0) -> None:
        if not 0 < seconds < math.inf:
            raise ValueError(f"seconds must be > 0, got {seconds}")
        self.seconds = seconds

    def results(self, context: Context) -> Results:
        if context.is_real:
            return Results(absent={BEST: "the density of the data is unknown: eval/nll_vs_mixture compares its rows"})
        return Results(dict(baseline_kls(context.dataset, self.seconds, context.protocol.n_samples)))


def baseline_kls(dataset: Dataset, seconds: float, n_rows: int) -> dict[str, float]:
    """Fit the baselines to the training rows and compare each with the density of the data on n_rows held-out rows.

    Args:
        dataset: data of a known density, of one axis.
        seconds: wall time of the flow.
        n_rows: held-out rows.

    Returns:
        The keys of `Baselines` → nats.
    """
    density = dataset.density
    assert density is not None
    train = dataset.reference.detach().cpu()
    validation = dataset.standardised_rows("validation", N_VALIDATION).cpu()
    x = dataset.unseen_rows("test", n_rows)
    u, log_det = dataset.standardizer.standardise(x).cpu(), float(dataset.standardizer.log_det)
    with torch.no_grad():
        log_p = in_chunks(reference_copy(density).log_prob, x.double().cpu()) + log_det

    def kl(log_q: Callable[[Tensor], Tensor]) -> float:
        with torch.no_grad():
            return float((log_p - in_chunks(log_q, u)).mean())

    found = {"eval/kl_mixture": kl(mixture_by_bic(train).log_prob)}
    if train.shape[1] <= MOST_KERNEL_DIMENSIONS:
        found["eval/kl_kde"] = kl(KernelDensity(train, validation).log_prob)
    flow = fit_spline_flow(train.float(), validation.float(), seconds)
    found["eval/kl_flow"] = kl(lambda rows: flow().log_prob(rows.float()))
    return found | {BEST: min(found.values())}
