"""The evaluation protocol: which results are computed, from how many rows, samples and chains."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ebm_cli.datasets import Dataset
from ebm_cli.datasets.matching import match_data_sets
from ebm_cli.errors import UserError
from ebm_cli.evaluation.metric_group import MetricGroup
from ebm_cli.samplers import Kernel
from ebm_cli.samplers.metric import why_not_measured
from ebm_cli.system.memory import format_bytes, max_array_bytes


@dataclass(frozen=True)
class Protocol:
    """The metric groups of an evaluation, and the sizes, chains and seed that they are computed with.

    Attributes:
        metrics: names out of density, score, samples, chains, features, ood; and groups that a user added.
        kernel: the transition of the evaluation's chains.
        n_samples: held-out rows, and samples.
        n_chains, burn_in: of the chains.
        n_temperatures: of annealed importance sampling.
        base: "auto" lets the evaluation choose the way to log Z: importance sampling, or annealing from the energy's
            reference or the Gaussian. Annealing from "gaussian", or from the "method"'s own proposal where it has one.
        init: where chains start: "annealed" points, in which the modes have their masses, or wide "noise".
        batch_size: rows of the method's own short chains.
        seed: of everything that is random here.
        foreign: a data set whose rows out-of-distribution detection compares too; None for none.
        fallback: chains that follow where those of the kernel have not mixed: "tempering"; "auto" only where it is
            cheap (`crossing`); "none".
    """

    metrics: Sequence[str | MetricGroup]
    kernel: Kernel
    n_samples: int
    n_chains: int
    burn_in: int
    n_temperatures: int
    base: str
    init: str
    batch_size: int
    seed: int
    foreign: Dataset | None = None
    fallback: Literal["auto", "tempering", "none"] = "none"

    @property
    def names(self) -> frozenset[str]:
        """The metric groups of this package that are asked for."""
        return frozenset(metric for metric in self.metrics if isinstance(metric, str))

    @property
    def added(self) -> tuple[MetricGroup, ...]:
        """The metric groups that a user added."""
        return tuple(metric for metric in self.metrics if isinstance(metric, MetricGroup))

    def validate(self, dataset: Dataset) -> None:
        """Refuse what does not fit the data, before anything is trained or measured.

        Raises:
            UserError: the sampler cannot move points of their dimension, more samples than the memory holds, or foreign
                rows that are not of their columns or shape.
        """
        needed, most = 4 * self.n_samples * math.prod(dataset.shape), max_array_bytes()
        if needed > most:
            raise UserError(
                f"eval.n_samples={self.n_samples}: {format_bytes(needed)} of samples, and one array may have "
                f"{format_bytes(most)} here; take fewer"
            )
        reason = self.kernel.why_not(math.prod(dataset.shape))
        if reason is not None:
            raise UserError(f"eval.sampler: {reason}")
        reason = why_not_measured(self.kernel, self.burn_in)
        if reason is not None:
            raise UserError(f"eval.sampler.{reason}")
        if self.foreign is not None:
            try:
                match_data_sets(dataset, self.foreign)
            except ValueError as error:
                raise UserError(f"eval.ood: {error}") from error
