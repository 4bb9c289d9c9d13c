"""Fields of a model in the data's own units: energy, density and score, at points and on a mesh over the plane.

A density is per unit of area of the data: p_x(x) = p_u(u) / Π scale, with u the standardised units of the energy.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ebm_cli.datasets.base import Dataset
from ebm_cli.derivatives import EnergyFn, value_and_grad
from ebm_cli.evaluation.batched import in_chunks, placement
from ebm_cli.evaluation.expectation import reference_copy

MESH = 240
"""Points along a side of a surface."""
ARROWS = 22
"""Points along a side of a score field."""
SMALLEST_WIDTH = 1e-6
"""Width over the value itself below which numbers of a float32 column are one value up to rounding."""
REACH = 10
"""Distance from the middle of some values to the end of their view, at most, in half-widths of their middle 90 %."""
MARGIN = 1.15
"""Width of a view over that of the values in it."""
SAME_UNIT = 4.0
"""Ratio of two axes' widths up to which they share one scale, so that a circle is drawn as a circle."""


class Interval(NamedTuple):
    """The part of an axis that a picture shows, half > 0."""

    centre: float
    half: float

    @staticmethod
    def around(values: NDArray[Any]) -> "Interval":
        """Find the interval of all but the outermost 0.2 % of finite values [N], with a margin.

        It reaches at most `REACH` times as far as the middle 90 %, so that a single value does not hide the others.
        Around one value it is as wide as a fifth of it, around 0 or without a finite value [−1, 1].
        """
        finite = values[np.isfinite(values)]
        if not len(finite):
            return Interval(0.0, 1.0)
        lowest, bottom, top, highest = np.quantile(finite, [0.001, 0.05, 0.95, 0.999])
        reach = REACH * (top / 2 - bottom / 2)
        if reach > 0:
            lowest, highest = max(lowest, bottom - reach), min(highest, top + reach)
        for low, high in ((lowest, highest), (finite.min(), finite.max())):
            # The halves are added: a sum or difference of two large numbers may overflow.
            centre, half = float(low / 2 + high / 2), float(high / 2 - low / 2)
            if half > SMALLEST_WIDTH * abs(centre):
                return Interval(centre, half * MARGIN)
        return Interval(centre, abs(centre) / 10 or 1.0)

    @property
    def ends(self) -> tuple[float, float]:
        """Its lowest and its highest value."""
        return self.centre - self.half, self.centre + self.half

    def ticks(self, n: int) -> NDArray[Any]:
        """Centres of n equal cells [n]."""
        ticks: NDArray[Any] = self.centre + self.half * ((2 * np.arange(n) + 1) / n - 1)
        return ticks

    def share_outside(self, values: NDArray[Any]) -> float:
        """The share of values [N] that are outside, or not finite."""
        low, high = self.ends
        return 1 - float(np.mean((values >= low) & (values <= high)))


class Window(NamedTuple):
    """A part of the plane, data units."""

    x: Interval
    y: Interval

    @staticmethod
    def around(points: NDArray[Any]) -> "Window":
        """Find the window of points [N, 2]: a square if their two widths are alike, else one width for each axis."""
        x, y = (Interval.around(points[:, j]) for j in (0, 1))
        narrow, wide = sorted((x.half, y.half))
        if wide > SAME_UNIT * narrow:
            return Window(x, y)
        return Window(x._replace(half=wide), y._replace(half=wide))

    def share_outside(self, points: NDArray[Any]) -> float:
        """The share of points [N, 2] that are outside, or not finite."""
        (left, right), (bottom, top) = self.x.ends, self.y.ends
        x, y = points.T
        return 1 - float(np.mean((x >= left) & (x <= right) & (y >= bottom) & (y <= top)))

    def mesh(self, n: int) -> Tensor:
        """Centres of the cells of an n × n mesh, row by row: [n², 2]."""
        return torch.from_numpy(np.stack(np.meshgrid(self.x.ticks(n), self.y.ticks(n)), -1).reshape(-1, 2))


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
