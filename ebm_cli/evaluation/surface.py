"""Fields of a model in the data's own units: energy, density and score, at points and on a mesh over the plane.

A density is per unit of area of the data: p_x(x) = p_u(u) / Π scale, with u the standardised units of the energy.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ebm_cli.datasets.base import Dataset
from ebm_cli.derivatives import EnergyFn, value_and_grad
from ebm_cli.evaluation.batched import in_chunks, placement
from ebm_cli.evaluation.expectation import reference_copy
from ebm_cli.evaluation.window import Window

MESH = 240
"""Points along a side of a surface."""
ARROWS = 22
"""Points along a side of a score field."""


@dataclass(frozen=True)
class Surface:
    """Fields of a model in two dimensions over a window; each is computed when it is first read, and kept.

    Args:
        energy_fn: f(u), standardised units.
        data: the data set.
        window: the part of the plane.
        log_z: in standardised units; None where the energy has none.

    Shapes: fields [MESH, MESH], rows along y.  Cost: MESH² energies; ARROWS² gradients for the score.
    """

    energy_fn: EnergyFn
    data: Dataset
    window: Window
    log_z: float | None

    @cached_property
    def energy(self) -> NDArray[Any]:
        """The energy f, nats."""
        return energy_at(self.energy_fn, self.data, self._mesh).reshape(MESH, MESH)

    @cached_property
    def density(self) -> NDArray[Any] | None:
        """The density of the model; None without log Z."""
        return None if self.log_z is None else density_of(self.energy, self.data, self.log_z)

    @cached_property
    def data_density(self) -> NDArray[Any] | None:
        """The density of the data; None where it is not known."""
        density = data_density_at(self.data, self._mesh)
        return None if density is None else density.reshape(MESH, MESH)

    @cached_property
    def score(self) -> NDArray[Any]:
        """The score on a coarser mesh [ARROWS², 2], row by row."""
        return score_at(self.energy_fn, self.data, self.window.mesh(ARROWS))

    @property
    def peak(self) -> float:
        """The largest value of the density: the data's where it is known, else the model's, else 1."""
        known = [density for density in (self.data_density, self.density) if density is not None]
        peak = float(np.max(known[0], where=np.isfinite(known[0]), initial=0.0)) if known else 0.0
        return peak or 1.0

    @cached_property
    def _mesh(self) -> Tensor:
        return self.window.mesh(MESH)


def energy_at(energy: EnergyFn, data: Dataset, x: Tensor) -> NDArray[Any]:
    """f at points in data units [N, D] → [N]."""
    dtype, device = placement(energy)
    with torch.no_grad():
        u = reference_copy(data.standardizer)(x.view(-1, *data.shape))
        values: NDArray[Any] = in_chunks(energy, u.to(device, dtype)).cpu().numpy()
    return values


def score_at(energy: EnergyFn, data: Dataset, x: Tensor) -> NDArray[Any]:
    """∇_x log p_θ = −∇_u f / scale at points in data units [N, D] → [N, D]."""
    dtype, device = placement(energy)
    standardizer = reference_copy(data.standardizer)
    _, grad = value_and_grad(energy, standardizer(x.view(-1, *data.shape)).to(device, dtype))
    score: NDArray[Any] = (-grad.cpu().double() / standardizer.scale).flatten(1).numpy()
    return score


def density_of(f: NDArray[Any], data: Dataset, log_z: float) -> NDArray[Any]:
    """The model's density per unit of the data where its energy is f, any shape."""
    density: NDArray[Any] = np.exp(-f - log_z - float(data.standardizer.log_det))
    return density


def data_density_at(data: Dataset, x: Tensor) -> NDArray[Any] | None:
    """The data's own density at points in data units [N, D] → [N]; None where it is not known."""
    if data.density is None:
        return None
    with torch.no_grad():
        density: NDArray[Any] = in_chunks(reference_copy(data.density).log_prob, x.view(-1, *data.shape)).exp().numpy()
    return density
