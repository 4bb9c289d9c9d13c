"""The keys of each verb that are not a group: their types, and the ranges that are refused outside.

The defaults and their meanings stand in `conf/VERB.yaml`, whose keys are exactly these.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ebm_cli.errors import require_positive


def _at_least(low: float, **values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not value >= low:
            raise ValueError(f"{name} must be >= {low}, got {value}")


def _check_metrics(metrics: Sequence[Any]) -> None:
    if not metrics:
        raise ValueError("metrics must name something to measure, got []")


def _check_threads(threads: int | str) -> None:
    if isinstance(threads, int):
        _at_least(1, threads=threads)
        # A thread that is not to be had ends the process, without a word from us.
        most = max(256, os.cpu_count() or 1)
        if threads > most:
            raise ValueError(f"threads must be <= {most}, got {threads}")


@dataclass(frozen=True)
class EvalKeys:
    """How the final model is measured."""

    n_samples: int
    n_chains: int
    burn_in: int
    n_temperatures: int
    base: Literal["gaussian", "method"]
    init: Literal["annealed", "noise"]

    def __post_init__(self) -> None:
        _at_least(10, n_samples=self.n_samples, n_chains=self.n_chains)
        _at_least(2, n_temperatures=self.n_temperatures)
        _at_least(0, burn_in=self.burn_in)


Metric = Literal["density", "score", "samples", "chains", "features", "ood"] | dict[str, Any]
"""A metric group of `evaluation.suite`, or a node whose class is an `evaluation.metric_group.MetricGroup`."""


@dataclass(frozen=True)
class TrainKeys:
    """`ebm train`."""

    checkpoint: str | None
    resume: Literal["auto", "never"]
    trust: list[str]
    seed: int
    steps: int
    max_seconds: float | None
    batch_size: int
    log_every: int
    eval_every: int | None
    checkpoint_every: int | None
    keep: int
    clip_grad_norm: float | None
    ema: float
    monitor: str
    patience: int | None
    metrics: list[Metric]
    claims: dict[str, Any] | None
    guard: Literal["stop", "rollback", "ignore"]
    device: Literal["auto", "cpu", "cuda", "mps"]
    threads: int | Literal["auto"]
    dtype: Literal["float32", "float64"]
    precision: Literal["highest", "high", "medium"]
    compile: Literal["auto", "always", "never", "native"]
    deterministic: bool
    eval: EvalKeys

    def __post_init__(self) -> None:
        _at_least(0, seed=self.seed, keep=self.keep)
        _at_least(1, steps=self.steps, batch_size=self.batch_size, log_every=self.log_every)
        _at_least(1, eval_every=self.eval_every, checkpoint_every=self.checkpoint_every)
        _at_least(1, patience=self.patience)
        if self.patience is not None and self.eval_every is None:
            raise ValueError(
                f"patience={self.patience} counts evaluations: eval_every must be a number of steps, got null"
            )
        require_positive(max_seconds=self.max_seconds, clip_grad_norm=self.clip_grad_norm)
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must be >= 0 and < 1, got {self.ema}")
        _check_metrics(self.metrics)
        _check_threads(self.threads)


@dataclass(frozen=True)
class ComposeKeys:
    """How several checkpoints become one energy."""

    kind: Literal["product", "mixture"]
    weights: list[float] | None


@dataclass(frozen=True)
class SampleKeys:
    """`ebm sample`."""

    checkpoint: str | list[str]
    compose: ComposeKeys
    which: Literal["best", "last"]
    weights: Literal["ema", "raw"]
    trust: list[str]
    n_samples: int
    n_chains: int | None
    burn_in: int
    thin: int
    init: str
    mask: str | None
    noise_std: float | None
    anneal: float
    adapt: bool
    seed: int
    device: Literal["auto", "cpu", "cuda", "mps"]
    threads: int | Literal["auto"]
    dtype: Literal["auto", "float32", "float64"]
    compile: Literal["auto", "always", "never", "native"]

    def __post_init__(self) -> None:
        _at_least(0, seed=self.seed, burn_in=self.burn_in)
        _at_least(1, n_samples=self.n_samples, n_chains=self.n_chains, thin=self.thin, anneal=self.anneal)
        require_positive(noise_std=self.noise_std)
        if self.anneal == float("inf"):
            raise ValueError("anneal must be finite, got inf")
        _check_threads(self.threads)


@dataclass(frozen=True)
class EvaluateKeys:
    """`ebm evaluate`."""

    checkpoint: str
    which: Literal["best", "last"]
    weights: Literal["ema", "raw"]
    trust: list[str]
    metrics: list[Metric]
    seed: int | None
    device: Literal["auto", "cpu", "cuda", "mps"]
    threads: int | Literal["auto"]
    dtype: Literal["auto", "float32", "float64"]
    compile: Literal["auto", "always", "never", "native"]
    eval: EvalKeys

    def __post_init__(self) -> None:
        _at_least(0, seed=self.seed)
        _check_metrics(self.metrics)
        _check_threads(self.threads)


@dataclass(frozen=True)
class RunsKeys:
    """`ebm runs`."""

    root: str


@dataclass(frozen=True)
class CheckKeys:
    """`ebm check`."""

    only: str | list[str]
    seed: int
    device: Literal["auto", "cpu", "cuda", "mps"]

    def __post_init__(self) -> None:
        _at_least(0, seed=self.seed)


@dataclass(frozen=True)
class CompareKeys:
    """`ebm compare`."""

    runs: str | list[str]
    by: str | list[str]
    metrics: str | list[str]
    pictures: bool
    trust: list[str]

    def __post_init__(self) -> None:
        for name, words in (("runs", self.runs), ("by", self.by), ("metrics", self.metrics)):
            if not words or (isinstance(words, list) and len(set(words)) < len(words)):
                raise ValueError(f"{name} must name at least one, and none twice, got {words!r}")


SCHEMAS: dict[str, type] = {
    "train": TrainKeys,
    "sample": SampleKeys,
    "evaluate": EvaluateKeys,
    "compare": CompareKeys,
    "runs": RunsKeys,
    "check": CheckKeys,
}

CONTINUABLE = frozenset(
    {"checkpoint", "trust", "resume", "steps", "max_seconds", "device", "eval", "monitor", "metrics"}
    | {"log_every", "eval_every", "checkpoint_every", "keep", "patience"}
)
"""What may be typed beside `checkpoint=RUN` when a run is continued: nothing that changes what was trained so far."""
