"""What a trained model is measured by at the end of a run: exact numbers where there are some, samples, cost."""

import math
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from ebm_cli.config import Trust, build
from ebm_cli.datasets import Dataset
from ebm_cli.densities import Density
from ebm_cli.energies import Energy
from ebm_cli.evaluation.chains import summary
from ebm_cli.evaluation.divergences import Evaluator, with_learned_log_z
from ebm_cli.experiment import rng
from ebm_cli.methods import Method
from ebm_cli.samplers import Kernel, adapt, run, trace

Results = dict[str, Any]
THIN = 10
"""Steps between two kept positions of an evaluation's chains."""


@dataclass(frozen=True)
class Measured:
    """Results by their keys, why others are missing, and the model's samples [N, *shape] in data units."""

    results: Results
    absent: dict[str, str]
    samples: Tensor


def finite(results: Results, absent: dict[str, str]) -> tuple[Results, dict[str, str]]:
    """Results without numbers that are not finite; these are absent, and why."""
    bad = {key: value for key, value in results.items() if isinstance(value, float) and not math.isfinite(value)}
    kept = {key: value for key, value in results.items() if key not in bad}
    return kept, absent | {key: f"its value is {value}" for key, value in bad.items()}


def measure(
    energy: Energy, method: Method, dataset: Dataset, evaluator: Evaluator, cfg: DictConfig, trust: Trust
) -> Measured:
    """Every result of the final model.

    Args:
        energy: with the weights that are judged.
        method: for what it trained beside the energy: its log Z, its flow.
        dataset: the truth.
        evaluator: of the data set.
        cfg: the run's config; `cfg.eval` says how many samples, by which chain.
        trust: whose classes the config may name.
    """
    evaluation = evaluator(energy)
    results: Results = dict(evaluation.values)
    learned = method.learned_log_z()
    if learned is not None:
        results = with_learned_log_z(results, float(learned.detach()))
    for name, density in method.densities().items():
        found = evaluator(_energy_of(density)).values
        results |= {f"eval/{name}_{key}": found[f"eval/{key}"] for key in ("kl", "nll") if f"eval/{key}" in found}
    samples, diagnostics = draw(energy, dataset, cfg, trust)
    return Measured(*finite(results | diagnostics, evaluation.absent), samples)


def _energy_of(density: Density) -> Callable[[Tensor], Tensor]:
    return lambda u: -density.log_prob(u)


def draw(energy: Energy, dataset: Dataset, cfg: DictConfig, trust: Trust) -> tuple[Tensor, Results]:
    """Samples [N, *shape] in data units by `eval.sampler`, whose chains start at noise, and their diagnostics."""
    kernel = build(cfg.eval.sampler, "eval.sampler", Kernel, trust=trust)
    like = dataset.reference
    generator = rng(cfg.seed, "evaluation", like.device)
    n_chains = min(500, cfg.eval.n_samples)
    n_kept = math.ceil(cfg.eval.n_samples / n_chains)
    # Standardised data have unit scale: twice that covers them.
    x = 2 * torch.randn(n_chains, *dataset.shape, generator=generator, dtype=like.dtype, device=like.device)
    if kernel.target_accept is not None and cfg.eval.burn_in > 0:
        kernel, state = adapt(kernel, energy, x, cfg.eval.burn_in, generator)
    else:
        state, _ = run(kernel, energy, x, cfg.eval.burn_in, generator)
    draws, info = trace(kernel, energy, state.x, n_kept * THIN, THIN, generator)
    results = {"sampler/acceptance": float(info.accept.mean()), "sampler/step_size": float(kernel.step_size)}
    if n_kept >= 4:
        results |= {f"sampler/{name}": value for name, value in summary(draws).items()}
    samples = draws.flatten(0, 1)[: cfg.eval.n_samples]
    with torch.no_grad():
        return dataset.standardizer.inverse(samples), results


def peak_memory_mb(device: torch.device) -> float:
    """The most memory that this process has held: the device's where there is one, else resident memory; megabytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
