"""Histograms of the energies of training rows, held-out rows and noise."""

import pytest
import torch

from ebm_cli.reporting.figures import canvas
from ebm_cli.reporting.figures.energies import energies_figure
from tests.support import seeded


def test_energies_figure_says_how_much_lower_training_rows_are() -> None:
    """Noise that is far away leaves the rows their place on the axis."""
    rng = seeded()
    train = torch.randn(4000, generator=rng)
    test, noise = torch.randn(1000, generator=rng) + 3, torch.full((500,), 1e6)
    axes = energies_figure({"train": train, "test": test, "noise": noise}).axes[0]
    gap, error = (float(part) for part in axes.get_title().partition(": ")[2].removesuffix(" nats").split(" ± "))
    assert gap == pytest.approx(3.0, abs=5 * error)
    assert error == pytest.approx((1 / 4000 + 1 / 1000) ** 0.5, rel=0.1)
    low, high = axes.get_xlim()
    assert -6 < low < -2
    assert 5 < high < 30
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["train", "test", "noise (100% outside)"]


def test_energies_figure_draws_non_finite_energies() -> None:
    nothing = torch.full((5,), torch.nan)
    figure = energies_figure({"train": nothing, "test": nothing, "noise": nothing})
    assert figure.axes[0].get_title() == "no energy is finite"
    figure = energies_figure({"train": torch.ones(3), "test": nothing, "noise": nothing})
    assert canvas.pixels(figure).ndim == 3
