"""Figures of data in any units, and of samples that are all alike, not finite, or far away."""

import re

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ebm_cli.datasets.finite import Finite
from ebm_cli.datasets.split import split
from ebm_cli.derivatives import EnergyFn
from ebm_cli.reporting.figures.canvas import pixels
from ebm_cli.reporting.figures.overview import final_figure, samples_figure
from ebm_cli.reporting.figures.plane import plane_panels
from tests.support import harmonic, normal

UNITS = [(1e-19, 1e-19), (1.0, 1e10), (1e-30, 1e30), (1e-19,), (1e30,), (1e-27, 1.0, 1e10)]


class Measured(Finite):
    """Standard normal rows in other units, with names of columns."""

    def __init__(self, units: tuple[float, ...]) -> None:
        rows = (normal(400, len(units)) * torch.tensor(units, dtype=torch.float64)).float()
        super().__init__(rows, split(400, 0.1, 0.5))
        self.column_names = tuple(f"$c_{j}" for j in range(len(units)))


@pytest.mark.parametrize("units", UNITS, ids=str)
def test_standardised_rows_have_unit_scale_in_any_unit(units: tuple[float, ...]) -> None:
    """Mean 0 and standard deviation 1 up to the rounding of float32, and back to the same numbers."""
    data = Measured(units)
    u = data.reference.double()
    torch.testing.assert_close(u.mean(0), torch.zeros(len(units), dtype=torch.float64), rtol=0, atol=1e-6)
    torch.testing.assert_close(u.std(0), torch.ones(len(units), dtype=torch.float64), rtol=1e-6, atol=0)
    x = data.held_out(100)
    back = data.standardizer.inverse(data.standardizer(x)) / torch.tensor(units)
    torch.testing.assert_close(back, x / torch.tensor(units))


@pytest.mark.parametrize(
    "units", [pytest.param(u, id=str(u), marks=[pytest.mark.slow] if len(u) > 2 else []) for u in UNITS]
)
def test_figure_shows_data_samples_and_density_in_one_place(units: tuple[float, ...]) -> None:
    """Every panel spans about six standard deviations of its column, each axis in its own unit."""
    data = Measured(units)
    figure = final_figure(harmonic, data, data.held_out(200), 0.5 * len(units) * np.log(2 * np.pi), {})
    assert pixels(figure).std() > 5
    for ax in figure.axes:
        name = ax.get_xlabel()
        if not name or not ax.get_visible():
            continue
        unit = units[int(re.sub(r"\D", "", name))]
        low, high = ax.get_xlim()
        assert 4 * unit < high - low < 10 * unit
        ticks = [tick for tick in ax.get_xticks() if low <= tick <= high]
        assert len(ticks) >= 2
        assert len({text.get_text() for text in ax.get_xticklabels()}) >= 2


def test_density_is_a_share_of_its_peak_in_small_units() -> None:
    """A density of 1e37 per square unit is drawn from 0 to 1, over the window of the scatter plots."""
    data = Measured((1e-19, 1e-19))
    panels = plane_panels(harmonic, data, data.held_out(200), float(np.log(2 * np.pi)))
    density, samples = Figure().add_subplot(), Figure().add_subplot()
    panels["density"](density)
    panels["samples"](samples)
    [image] = density.images
    shown = image.get_array()
    assert shown is not None
    assert (float(shown.max()), image.get_clim()) == (1.0, (0, 1))
    assert tuple(image.get_extent()) == (*samples.get_xlim(), *samples.get_ylim())


def stretched(u: Tensor) -> Tensor:
    return 1e30 * harmonic(u)


def undefined(u: Tensor) -> Tensor:
    return u.sum(1) * torch.nan


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("energy", [stretched, undefined])
def test_figure_of_an_energy_that_is_huge_or_not_finite(dim: int, energy: EnergyFn) -> None:
    data = Measured((1.0,) * dim)
    assert pixels(final_figure(energy, data, None, 0.0, {})).std() > 5


@pytest.mark.parametrize("shape", [(1,), (2,), (1, 4, 4)], ids=str)
@pytest.mark.parametrize("value", [7.0, -3e38, torch.nan, torch.inf])
def test_figure_of_samples_that_are_all_alike(shape: tuple[int, ...], value: float) -> None:
    assert pixels(samples_figure(torch.full((30, *shape), value))).ndim == 3


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_figure_says_which_share_of_the_samples_is_outside(dim: int) -> None:
    rows = normal(500, dim)
    samples = torch.cat([normal(300, dim), torch.full((60, dim), 1e6), torch.full((40, dim), torch.nan)])
    figure = samples_figure(samples, rows)
    legends = [text.get_text() for ax in figure.axes if ax.get_legend() for text in ax.get_legend().get_texts()]
    texts = " ".join([*(ax.get_title() for ax in figure.axes), *legends])
    share = re.search(r"(\d+)% outside", texts)
    assert share is not None
    assert 25 <= int(share[1]) <= 27
