"""Trained energies as parts of another one: each is mapped to the other's standardised units."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from ebm_cli.datasets import Standardizer
from ebm_cli.energies import Energy, Rescaled, Sum
from ebm_cli.errors import UserError

if TYPE_CHECKING:
    from ebm_cli.runs.model import Model


def compose(
    paths: Sequence[str],
    read: "Callable[[str], Model]",
    kind: Literal["product", "mixture"] = "product",
    weights: Sequence[float] | None = None,
) -> "Model":
    """Compose trained models: the first one, with the sum of all energies (see `energies.Sum`) as its energy.

    Args:
        paths: two or more run directories or checkpoint files.
        read: `load`, with its options.
        kind, weights: of the sum.

    Raises:
        UserError: a model cannot be loaded, shapes of points differ, or weights do not fit.
    """
    if len(paths) < 2:
        raise UserError(f"checkpoint={list(paths)}: a composition needs two or more checkpoints")
    remarks: list[str] = []
    read = noting(read, remarks)
    first = read(paths[0])
    like = first.standardizer.like
    member = partial(load_member, read, first.standardizer, "checkpoint")
    try:
        energy = Sum(tuple(like.shape), list(paths), member, kind, None if weights is None else list(weights))
    except ValueError as error:
        raise UserError(f"compose.{error}") from error
    return replace(first, energy=energy.to(like.device, like.dtype).eval(), remarks=tuple(remarks))


def noting(read: "Callable[[str], Model]", remarks: list[str]) -> "Callable[[str], Model]":
    """`read`, which also adds a model's remarks to a list that does not have them."""

    def noted(path: str) -> "Model":
        model = read(path)
        remarks.extend(remark for remark in model.remarks if remark not in remarks)
        return model

    return noted


def load_member(read: "Callable[[str], Model]", into: Standardizer, key: str, path: str) -> Energy:
    """Load a trained energy as a function of another run's standardised units.

    The other run's u = (x − m)/s is mapped to u' = (x − m')/s' of the loaded run.

    Args:
        read: `load`, with its options.
        into: standardizer of the other run.
        key: config key, for messages.
        path: run directory or checkpoint file.

    Raises:
        UserError: no such run, or its points have another shape.
    """
    try:
        model = read(path)
    except UserError as error:
        raise UserError(f"{key}: {str(error).removeprefix('checkpoint=')}") from error
    own = model.standardizer
    if own.mean.shape != into.mean.shape:
        shapes = list(own.mean.shape), list(into.mean.shape)
        raise UserError(f"{key}: points of {path} have the shape {shapes[0]}, those of the others {shapes[1]}")
    mean, scale = (part.to(own.mean.device) for part in (into.mean, into.scale))
    return Rescaled(model.energy, scale / own.scale, (mean - own.mean) / own.scale)
