"""Assembly of a run's parts (data set, energy, method) and of its evaluation protocol from a config."""

from functools import partial
from typing import Any

import torch
from omegaconf import DictConfig

from ebm_cli.config.build import build
from ebm_cli.config.trust import Trust
from ebm_cli.datasets import Dataset
from ebm_cli.energies import Energy
from ebm_cli.errors import UserError
from ebm_cli.evaluation.metric_group import MetricGroup
from ebm_cli.evaluation.protocol import Protocol
from ebm_cli.methods import Method, Polish
from ebm_cli.runs.composed import load_member, noting
from ebm_cli.runs.instantiate import Parts, seeded
from ebm_cli.runs.model import load
from ebm_cli.samplers import Kernel
from ebm_cli.system.device import device_of


def assemble(cfg: DictConfig, trust: Trust = None) -> Parts:
    """Build data set, energy and method of a training config.

    Raises:
        UserError: a part refuses its keys, or the parts do not work together.
    """
    device, dtype = device_of(cfg.device), getattr(torch, cfg.dtype)
    dataset = build(cfg.dataset, "dataset", Dataset, trust=trust).to(device, dtype)
    given: dict[str, Any] = {"shape": tuple(dataset.shape), "data": dataset.reference}
    remarks: list[str] = []
    with seeded(cfg.seed, "initialisation"):
        read = noting(partial(load, trust=tuple(cfg.trust)), remarks)
        member = partial(load_member, read, dataset.standardizer, "energy.checkpoints")
        context = given | {"load_member": member}
        energy = build(cfg.energy, "energy", Energy, trust=trust, **context).to(device, dtype)
        method = build(cfg.method, "method", Method, trust=trust, **given).to(device, dtype)
        polish: Polish | None = None
        if cfg.get("polish") is not None:
            polish = build(cfg.polish, "polish", Polish, trust=trust, **given).to(device, dtype)
    if not method.players(energy)["energy"]:
        raise UserError(
            f"energy._target_={cfg.energy._target_}: has no parameters to train; set energy.train_weights=true to "
            "train the weights of a sum, or sample a sum of trained runs by ebm sample checkpoint=[A,B]"
        )
    try:
        method.validate(energy, cfg.batch_size)
        if polish is not None:
            polish.validate(method, energy, cfg.batch_size)
    except ValueError as error:
        raise UserError(str(error)) from error
    return Parts(dataset, energy, method, tuple(f"energy.checkpoints: {remark}" for remark in remarks), polish)


def boundary_warning(parts: Parts) -> str | None:
    """Sentence that says why the objective does not hold for these data, and a remedy; None if it holds."""
    if not parts.method.needs_continuous_density or not parts.dataset.has_jumps:
        return None
    return (
        "dequantised data have hard edges, where the boundary term that score matching drops (Hyvärinen 2005) is not 0 "
        "and its objective has no lower bound: the model learns a cliff there; set dataset.noise_std=1 to smooth them"
    )


def described_data(dataset: Dataset, protocol: Protocol) -> list[str]:
    """Sentences on what was read from the user's files: that of the data set, and that of eval.ood."""
    foreign = protocol.foreign.description if protocol.foreign is not None else ""
    sentences = [f"data: {dataset.description}" if dataset.description else ""]
    return [sentence for sentence in [*sentences, f"eval.ood: {foreign}" if foreign else ""] if sentence]


def protocol_of(cfg: DictConfig, seed: int, batch_size: int, trust: Trust) -> Protocol:
    """Build the protocol that a verb's keys `metrics` and `eval` describe, for a run of this batch size."""
    keys = cfg.eval
    return Protocol(
        metrics=tuple(_metric(metric, f"metrics[{i}]", trust) for i, metric in enumerate(cfg.metrics)),
        kernel=build(keys.sampler, "eval.sampler", Kernel, trust=trust),
        n_samples=keys.n_samples,
        n_chains=min(keys.n_chains, keys.n_samples),
        burn_in=keys.burn_in,
        n_temperatures=keys.n_temperatures,
        base=keys.base,
        init=keys.init,
        batch_size=batch_size,
        seed=seed,
        fallback=keys.fallback,
        foreign=build(keys.ood, "eval.ood", Dataset, trust=trust) if keys.get("ood") else None,
    )


def _metric(metric: str | DictConfig, path: str, trust: Trust) -> str | MetricGroup:
    """Name of a metric group, or a group built from a user's node."""
    if isinstance(metric, str):
        return metric
    group: MetricGroup = build(metric, path, MetricGroup, trust=trust)
    return group
