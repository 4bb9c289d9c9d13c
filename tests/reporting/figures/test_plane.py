"""The figure of a model in two dimensions."""

from typing import Any

import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ebm_cli.datasets import GaussianRing, Synthetic
from ebm_cli.energies import MLP
from ebm_cli.reporting.figures.plane import plane_figure, plane_panels


@pytest.fixture(scope="module")
def data() -> Synthetic:
    return Synthetic(GaussianRing())


def energy() -> MLP:
    torch.manual_seed(0)
    return MLP(shape=(2,), width=16)


def test_plane_figure_has_six_panels_with_results(data: Synthetic) -> None:
    values = {"eval/kl": 0.00123, "eval/log_z": 1.0, "eval/fisher": 2.0}
    figure = plane_figure(plane_panels(energy(), data, data.held_out(500), 1.0, values, 500))
    titles = [ax.get_title() for ax in figure.axes]
    assert len(titles) == 6
    assert titles[0] == "data"
    assert "model density\nKL 0.001230" in titles
    assert "score −∇f\nFisher 2.000" in titles
    assert any(title.startswith("energy, 0 to ") and title.endswith(" nats\nlog Z 1.000") for title in titles)


def test_panels_without_log_z_and_samples_lack_their_density(data: Synthetic) -> None:
    assert list(plane_panels(energy(), data, None, None, None, 500)) == ["data", "data_density", "energy", "score"]


def test_densities_share_one_colour_scale(data: Synthetic) -> None:
    def truth(u: Tensor) -> Tensor:
        return -data.density.log_prob(data.standardizer.inverse(u)) - data.standardizer.log_det

    panels = plane_panels(truth, data, None, 1.0, None, 500)

    def image(name: str) -> Any:
        axes = Figure().add_subplot()
        panels[name](axes)
        return axes.images[0]

    exact, model = image("data_density"), image("density")
    assert exact.get_clim() == model.get_clim()
    assert model.get_array().max() < exact.get_array().max()
    assert exact.get_extent() == model.get_extent()
    assert exact.origin == "lower"
