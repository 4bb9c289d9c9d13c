"""The figure of a model in one dimension."""

import math

import numpy as np

from ebm_cli.datasets import Gaussian, Synthetic
from ebm_cli.reporting.figures.line import line_figure


def test_line_figure_draws_densities_in_data_units() -> None:
    data = Synthetic(Gaussian(1, [2.0], [[9.0]]))
    figure = line_figure(lambda u: 0.5 * u[:, 0] ** 2, data, data.held_out(500), 0.5 * math.log(2 * math.pi))
    curves = {line.get_label(): line for line in figure.axes[0].lines}
    exact, model = (curves[name].get_ydata() for name in ("data density", "model density"))
    np.testing.assert_allclose(np.asarray(model), np.asarray(exact), atol=0.002)


def test_line_figure_without_log_z_has_no_model_density() -> None:
    data = Synthetic(Gaussian(1))
    figure = line_figure(lambda u: 0.5 * u[:, 0] ** 2, data, None, None, {"eval/log_z": 1.0})
    assert [line.get_label() for line in figure.axes[0].lines] == ["data density"]
    assert figure.axes[1].get_title() == "energy above its minimum, nats\nlog Z 1.000"
