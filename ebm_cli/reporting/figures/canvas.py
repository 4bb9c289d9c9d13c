"""Empty figures and their pixels: no global state of matplotlib, no window."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ebm_cli.system.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL = 2.4
"""Inches along a side of a panel: so few that text is readable where TensorBoard shows the picture at 400 pixels."""
DPI = 180


def blank(width: float, height: float) -> "Figure":
    """An empty figure, inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save(figure: "Figure", path: Path) -> NDArray[Any]:
    """Write a figure as PNG, whole or not at all; returns its pixels, which TensorBoard shows too."""
    from matplotlib.image import imsave

    image = pixels(figure)
    with replacing(path) as temporary:
        imsave(temporary, image, format="png")
    return image


def pixels(figure: "Figure") -> NDArray[Any]:
    """A figure as an RGB image [height, width, 3], uint8, at `DPI` dots per inch."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def numpy_of(x: Tensor) -> NDArray[Any]:
    """A tensor as a float64 array."""
    return x.detach().cpu().double().numpy()
