"""Weights of another run as the start of a new one: `init_from=RUN`.

The energy of the new run begins with those of the other, and so do the parameters of its method if it is the same
method with the same parameters (the log Z of nce, the flow of fce). Optimizer, averages, schedule and chains are new.
Weights act on standardised units: on other data, whose units differ, they are the same function of those.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from ebm_cli.config.type_checks import to_plain
from ebm_cli.errors import UserError
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.runs.instantiate import Parts

MOVED = 0.1
"""Change of a column's mean, in its standard deviations, or of the log of its scale, that a remark names."""


def require_source(cfg: DictConfig) -> None:
    """Refuse a run to start from that does not exist.

    Raises:
        UserError: there is none.
    """
    if cfg.init_from is not None:
        _locate(cfg.init_from)


def start_from(cfg: DictConfig, parts: Parts) -> list[str]:
    """Copy the weights of the run `cfg.init_from` into the energy, and where they fit into the method.

    Args:
        cfg: a training config; `init_weights` chooses averaged or raw weights.
        parts: of the new run; changed in place.

    Returns:
        Sentences on what was copied, and on what differs although it fits.

    Raises:
        UserError: no such run, or its network is another one; the message names the first difference.
    """
    path = cfg.init_from
    if path is None:
        return []
    file = _locate(path)
    state = checkpoints.read(file)
    stored, own = state["config"].get("energy") or {}, to_plain(cfg.energy)
    differing = [
        f"energy.{key} is {stored.get(key)} there and {own.get(key)} here"
        for key in sorted({*stored, *own}, key=lambda key: (key != "_target_", key))
        if stored.get(key) != own.get(key)
    ]
    misfit = _misfit(parts.energy.state_dict(), state["energy"])
    if misfit is not None:
        why = f" ({'; '.join(differing)})" if differing else ""
        there, here = state["dataset"]["standardizer"]["mean"].shape, parts.dataset.standardizer.mean.shape
        if there != here and not differing:
            raise UserError(
                f"init_from={path}: its rows have {_numbers(there)}, those of this run {_numbers(here)}, and a network "
                f"fits one width only ({misfit}); choose the data or the columns to match"
            )
        raise UserError(f"init_from={path}: its network is another one: {misfit}{why}; choose the same energy")
    averages = state["ema"]["mean"] if cfg.init_weights == "ema" else {}
    _copy(parts.energy, "energy", state["energy"], averages)
    kind = "averaged" if cfg.init_weights == "ema" else "raw"
    remarks = [f"init_from={path}: starts with the {kind} weights of step {state['step']:,} ({file.name})"]
    if differing:
        remarks.append(f"init_from={path}: the same weights are another function here: {'; '.join(differing)}")
    same_method = (state["config"].get("method") or {}).get("_target_") == cfg.method.get("_target_")
    parameters = {name: value.detach() for name, value in parts.method.named_parameters()}
    learned = {name: value for name, value in state["method"].items() if name in parameters}
    if same_method and parameters and _misfit(parameters, learned) is None:
        _copy(parts.method, "method", learned, averages)
        remarks.append(f"init_from={path}: the method starts with its trained {', '.join(sorted(parameters)[:4])}")
    return [*remarks, *_moved_units(path, state["dataset"]["standardizer"], parts)]


def _locate(path: str) -> Path:
    """The checkpoint file of a run directory, as `which=auto` chooses it, or the file itself."""
    try:
        return checkpoints.locate(path)
    except UserError as reason:
        raise UserError(
            f"init_from={str(reason).removeprefix('checkpoint=').replace('checkpoint=', 'init_from=')}"
        ) from reason


def _numbers(shape: Sequence[int]) -> str:
    return f"{math.prod(shape):,} number{'s' * (math.prod(shape) != 1)}"


def _misfit(own: Mapping[str, Tensor], stored: Mapping[str, Any]) -> str | None:
    """The first tensor that only one of two states has, or that has another shape; None if there is none."""
    for name in [*own, *(name for name in stored if name not in own)]:
        if name not in stored:
            return f"it has no {name}, {list(own[name].shape)} here"
        there = list(stored[name].shape)
        if name not in own:
            return f"{name}, {there} there, does not exist here"
        if there != list(own[name].shape):
            return f"{name} is {there} there and {list(own[name].shape)} here"
    return None


def _copy(module: nn.Module, part: str, stored: Mapping[str, Tensor], averages: Mapping[str, Tensor]) -> None:
    """Copy stored tensors into a module, and averages, `part.name` → mean, in place of those that have one."""
    own = module.state_dict()
    with torch.no_grad():
        for name, value in stored.items():
            own[name].copy_(averages.get(f"{part}.{name}", value))


def _moved_units(path: str, stored: Mapping[str, Tensor], parts: Parts) -> list[str]:
    """A sentence if the standardised units of the two runs differ."""
    own = parts.dataset.standardizer
    mean, scale = (stored[name].to(own.like) for name in ("mean", "scale"))
    if mean.shape != own.mean.shape:
        return []
    shift, stretch = ((own.mean - mean) / scale).abs().max(), (own.scale / scale).log().abs().max()
    if max(float(shift), float(stretch)) <= MOVED:
        return []
    return [
        f"init_from={path}: its data have other units (means differ by up to {float(shift):.2g} standard deviations, "
        f"scales by a factor of up to {float(stretch.exp()):.3g}); the weights are a function of standardised units"
    ]
