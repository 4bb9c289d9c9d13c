"""Views of points: the interval of an axis and the window of the plane that a picture shows, in any units."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
