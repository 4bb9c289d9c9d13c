"""Schemas: the keys of each verb that are not a group, their types and their ranges.

Defaults and meanings are in `conf/VERB.yaml`, whose keys are exactly these.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ebm_cli.errors import require_positive


def _require_at_least(low: float, **values: float | None) -> None:
    """Require that numbers are >= low; None, an option that is off, passes."""
    for name, value in values.items():
        if value is not None and not value >= low:
            raise ValueError(f"{name} must be >= {low}, got {value}")


def _require_metrics(metrics: Sequence[Any]) -> None:
    if not metrics:
        raise ValueError("metrics must name at least one group of results, got []")


def _require_threads(threads: int | str) -> None:
    if isinstance(threads, int):
        _require_at_least(1, threads=threads)
        # A process that cannot get a thread is ended by the system, without a message.
        most = max(256, os.cpu_count() or 1)
        if threads > most:
            raise ValueError(f"threads must be <= {most}, got {threads}")


Device = Literal["auto", "cpu", "cuda", "mps"]
Threads = int | Literal["auto"]
Compile = Literal["auto", "always", "never", "native"]


@dataclass(frozen=True)
class EvalKeys:
    """Settings of the final evaluation, `eval.*`."""

    n_samples: int
    n_chains: int
    burn_in: int
    n_temperatures: int
    base: Literal["auto", "gaussian", "method"]
    init: Literal["annealed", "noise"]
    fallback: Literal["auto", "tempering", "none"]

    def __post_init__(self) -> None:
        _require_at_least(10, n_samples=self.n_samples, n_chains=self.n_chains)
        _require_at_least(2, n_temperatures=self.n_temperatures)
        _require_at_least(0, burn_in=self.burn_in)


@dataclass(frozen=True)
class ParallelKeys:
    """The processes of a run or of an evaluation, `parallel.*`."""

    ranks: int | Literal["env"]

    def __post_init__(self) -> None:
        if isinstance(self.ranks, int):
            _require_at_least(1, ranks=self.ranks)


Metric = Literal["density", "score", "samples", "chains", "features", "ood"] | dict[str, Any]
"""A metric group of `evaluation.suite`, or a node whose class is an `evaluation.metric_group.MetricGroup`."""


@dataclass(frozen=True)
class TrainKeys:
    """Keys of `ebm train`."""

    checkpoint: str | None
    init_from: str | None
    init_weights: Literal["ema", "raw"]
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
    measurement: dict[str, Any] | None
    guard: Literal["stop", "rollback", "ignore"]
    strict: bool
    device: Device
    threads: Threads
    dtype: Literal["float32", "float64"]
    precision: Literal["highest", "high", "medium"]
    compile: Compile
    deterministic: bool
    parallel: ParallelKeys
    eval: EvalKeys

    def __post_init__(self) -> None:
        _require_at_least(0, seed=self.seed, keep=self.keep)
        _require_at_least(1, steps=self.steps, batch_size=self.batch_size, log_every=self.log_every)
        _require_at_least(1, eval_every=self.eval_every, checkpoint_every=self.checkpoint_every)
        _require_at_least(1, patience=self.patience)
        if self.patience is not None and self.eval_every is None:
            raise ValueError(
                f"patience={self.patience} counts evaluations: set eval_every to a number of steps, or patience=null, "
                "too"
            )
        require_positive(max_seconds=self.max_seconds, clip_grad_norm=self.clip_grad_norm)
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must be >= 0 and < 1, got {self.ema}")
        _require_metrics(self.metrics)
        _require_threads(self.threads)


@dataclass(frozen=True)
class DataKeys:
    """The data of a run that is used again, `dataset.*`."""

    path: str | None


@dataclass(frozen=True)
class ModelKeys:
    """Keys of every verb that loads the model of a run."""

    dataset: DataKeys
    which: Literal["auto", "best", "last"]
    weights: Literal["ema", "raw"]
    trust: list[str]
    device: Device
    threads: Threads
    dtype: Literal["auto", "float32", "float64"]

    def __post_init__(self) -> None:
        _require_threads(self.threads)


@dataclass(frozen=True)
class ComposeKeys:
    """Composition of several checkpoints into one energy, `compose.*`."""

    kind: Literal["product", "mixture"]
    weights: list[float] | None


@dataclass(frozen=True)
class SampleKeys(ModelKeys):
    """Keys of `ebm sample`."""

    checkpoint: str | list[str] | None
    shape: list[int] | int | None
    compose: ComposeKeys
    n_samples: int
    n_chains: int | None
    shards: Literal["auto", "none", "npz", "parquet"]
    shard_samples: int | None
    burn_in: int
    thin: int
    init: str
    mask: str | None
    noise_std: float | None
    anneal: float
    adapt: bool | Literal["auto"]
    strict: bool
    seed: int
    compile: Compile

    def __post_init__(self) -> None:
        _require_at_least(0, seed=self.seed, burn_in=self.burn_in)
        _require_at_least(1, n_samples=self.n_samples, n_chains=self.n_chains, thin=self.thin, anneal=self.anneal)
        _require_at_least(1, shard_samples=self.shard_samples)
        sides = [self.shape] if isinstance(self.shape, int) else self.shape
        if sides is not None and (not sides or min(sides) < 1):
            raise ValueError(f"shape must be whole numbers >= 1, such as [2], got {self.shape}")
        require_positive(noise_std=self.noise_std)
        if self.anneal == float("inf"):
            raise ValueError("anneal must be finite, got inf")
        super().__post_init__()


@dataclass(frozen=True)
class EvaluateKeys(ModelKeys):
    """Keys of `ebm evaluate`."""

    checkpoint: str
    metrics: list[Metric]
    seed: int | None
    strict: bool
    compile: Compile
    parallel: ParallelKeys
    eval: EvalKeys

    def __post_init__(self) -> None:
        _require_at_least(0, seed=self.seed)
        _require_metrics(self.metrics)
        super().__post_init__()


@dataclass(frozen=True)
class DensityKeys(ModelKeys):
    """Keys of `ebm density`."""

    checkpoint: str
    data: str
    n_held_out: int
    n_chains: int
    n_temperatures: int
    seed: int

    def __post_init__(self) -> None:
        _require_at_least(0, seed=self.seed)
        _require_at_least(1, n_held_out=self.n_held_out)
        _require_at_least(2, n_temperatures=self.n_temperatures)
        _require_at_least(10, n_chains=self.n_chains)
        super().__post_init__()


@dataclass(frozen=True)
class RunsKeys:
    """Keys of `ebm runs`."""

    root: str | list[str]

    def __post_init__(self) -> None:
        if not self.root:
            raise ValueError(f"root must have at least one entry, got {self.root!r}")


@dataclass(frozen=True)
class CheckKeys:
    """Keys of `ebm check`."""

    only: str | list[str]
    seed: int
    device: Device

    def __post_init__(self) -> None:
        _require_at_least(0, seed=self.seed)


@dataclass(frozen=True)
class CompareKeys:
    """Keys of `ebm compare`."""

    runs: str | list[str]
    by: str | list[str]
    metrics: str | list[str]
    pictures: bool
    trust: list[str]

    def __post_init__(self) -> None:
        for name, words in (("runs", self.runs), ("by", self.by), ("metrics", self.metrics)):
            if not words or (isinstance(words, list) and len(set(words)) < len(words)):
                raise ValueError(f"{name} must have at least one entry, and none twice, got {words!r}")


SCHEMAS: dict[str, type] = {
    "train": TrainKeys,
    "sample": SampleKeys,
    "evaluate": EvaluateKeys,
    "density": DensityKeys,
    "compare": CompareKeys,
    "runs": RunsKeys,
    "check": CheckKeys,
}

CHANGEABLE_ON_RESUME = frozenset(
    {"checkpoint", "trust", "resume", "steps", "max_seconds", "device", "eval", "monitor", "metrics"}
    | {"parallel"}
    | {"log_every", "eval_every", "checkpoint_every", "keep", "patience", "strict"}
)
"""Keys that may be set beside `checkpoint=RUN` to resume a run: none of them changes what was trained so far."""
