"""An energy without a run, for `ebm sample energy=…`: a density that the user writes, in its own units."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from ebm_cli.config.build import build
from ebm_cli.config.trust import import_class
from ebm_cli.config.type_checks import parameters
from ebm_cli.datasets import Standardizer
from ebm_cli.energies import Energy
from ebm_cli.energies.given import Given
from ebm_cli.errors import UserError, describe
from ebm_cli.runs.instantiate import seeded
from ebm_cli.runs.model import Model
from ebm_cli.samplers import Kernel
from ebm_cli.system.device import device_of

NEEDS = {
    "data": "is fitted to the rows of a data set: train it with ebm train, and sample the run with checkpoint=RUN",
    "load_member": "is composed of runs: sample them with checkpoint=[A,B]",
}
"""A constructor's parameter that only a run provides → what to do instead."""


def energy_alone(node: DictConfig, shape: Sequence[int] | None, seed: int, device: str) -> Model:
    """Build an energy that was typed, as the model of a run that has neither data nor training.

    Data units are the energy's own.

    Args:
        node: config node of the energy: a class of `Energy` or `Density`, or any class whose instances are functions of
            points. It was typed, so any package is trusted.
        shape: shape of one point; None where it follows from the energy.
        seed: of initial weights.
        device: of the energy.

    Raises:
        UserError: an energy that needs a run, an unknown shape, or a function that is no energy.
    """
    point = _shape(node, shape)
    given: dict[str, Any] = {} if point is None else {"shape": point}
    with seeded(seed, "initialisation"):
        made = build(node, "energy", trust=None, **given)
    own = getattr(made, "shape", None)
    found = point if own is None else tuple(own)
    if found is None or (point is not None and found != point):
        known = "does not say the shape of its points" if found is None else f"has points of shape {list(found)}"
        raise UserError(f"energy._target_={node._target_}: {known}; set shape={list(found or [2])}")
    if not callable(made):
        raise UserError(f"energy._target_={node._target_}: must be a function of points, [B, *shape] to [B]")
    energy = made if isinstance(made, Energy) else Given(made, found)
    target = device_of(device)
    energy = energy.to(target, torch.float32).eval().requires_grad_(False)
    config = OmegaConf.create({"dtype": "float32"})
    standardizer = Standardizer.identity(found).to(target, torch.float32)
    return Model(energy, standardizer, config, 0, {}, Path())


def require_energy(model: Model, kernel: Kernel) -> None:
    """Refuse a function that is no energy: one number a point, with a gradient if the sampler needs one.

    Raises:
        UserError: it is not; the message says what came back.
    """
    like, name = model.standardizer.like, f"energy={type(_function(model.energy)).__name__}"
    x = torch.linspace(-1, 1, 2 * math.prod(like.shape), dtype=like.dtype, device=like.device)
    x = x.view(2, *like.shape).requires_grad_()
    try:
        with torch.enable_grad():
            f = model.energy(x)
    except Exception as error:  # the user's own code may raise anything
        raise UserError(f"{name}: fails at points of shape {[2, *like.shape]} ({describe(error)})") from error
    if not isinstance(f, torch.Tensor) or tuple(f.shape) != (2,):
        got = f"shape {list(f.shape)}" if isinstance(f, torch.Tensor) else f"a {type(f).__name__}"
        raise UserError(f"{name}: must return one number a point, shape [2] for 2 points, got {got}")
    if kernel.evaluations(1).grad and not f.requires_grad:
        raise UserError(
            f"{name}: has no gradient in x, which {type(kernel).__name__} needs; compute it with torch, or set "
            "sampler=metropolis"
        )


def _function(energy: Energy) -> Any:
    return energy.function if isinstance(energy, Given) else energy


def _shape(node: DictConfig, shape: Sequence[int] | None) -> tuple[int, ...] | None:
    """The shape of a point that is typed or follows from the keys; None where only the built energy knows it."""
    cls = import_class(node._target_, "energy", None)
    needed = parameters(cls)
    for name, cure in NEEDS.items():
        if name in needed and name not in node:
            raise UserError(f"energy._target_={node._target_}: {cure}")
    if shape is not None or "shape" not in needed or "shape" in node:
        return None if shape is None else tuple(shape)
    keys = OmegaConf.to_container(node, resolve=True)
    assert isinstance(keys, dict)
    found = cls.shape_of({str(key): value for key, value in keys.items()}) if issubclass(cls, Energy) else None
    if found is None and needed["shape"].default is needed["shape"].empty:
        raise UserError(f"shape is required: {cls.__name__} is defined for points of any shape; add shape=[2], say")
    return found
