"""What every picture is drawn on, and how it becomes pixels: no global state, nothing shown."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, np.dtype[Any]]

PANEL = 2.9  # inches along a side of a panel


def blank(width: float, height: float) -> "Figure":
    """An empty figure of so many inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save(figure: "Figure", path: Path) -> Array:
    """Write a figure as PNG; its pixels, so that it need not be drawn again for TensorBoard."""
    from matplotlib.image import imsave

    image = pixels(figure)
    imsave(path, image)
    return image


def pixels(figure: "Figure") -> Array:
    """A figure as an RGB image [height, width, 3], uint8, at 150 dots an inch."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(150)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]


def numpy_of(x: Tensor) -> Array:
    """The numbers of a tensor, float64."""
    return x.detach().cpu().double().numpy()
