"""Figures chosen by the shape of the data."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ebm_cli.datasets import GaussianRing, Synthetic
from ebm_cli.energies import MLP
from ebm_cli.reporting.figures import canvas
from ebm_cli.reporting.figures.overview import final_figure, samples_figure


def test_final_figure_is_written_as_png(tmp_path: Path) -> None:
    data = Synthetic(GaussianRing())
    figure = final_figure(MLP(shape=(2,), width=16), data, data.held_out(500), 1.0, n_rows=500)
    image = canvas.save(figure, tmp_path / "final.png")
    assert image.dtype == np.uint8
    assert (tmp_path / "final.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("shape", [(1,), (2,), (5,), (1, 8, 8), (3, 8, 8)])
def test_samples_figure_draws_every_shape(shape: tuple[int, ...]) -> None:
    x = torch.rand(70, *shape, generator=torch.Generator().manual_seed(0))
    for data in (None, x):
        image = canvas.pixels(samples_figure(x, data))
        assert image.dtype == np.uint8
        assert image.std() > 5


def test_figures_import_matplotlib_late_and_pyplot_never() -> None:
    code = (
        "import sys, torch; from ebm_cli.reporting import tensorboard; from ebm_cli.reporting.figures import canvas; "
        "from ebm_cli.reporting.figures.overview import samples_figure; assert 'matplotlib' not in sys.modules; "
        "canvas.pixels(samples_figure(torch.zeros(5, 2))); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
