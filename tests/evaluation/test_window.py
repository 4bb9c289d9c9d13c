"""Views of points: intervals and windows of any unit, outliers, and positions on a mesh."""

import numpy as np
import pytest

from ebm_cli.evaluation.window import Interval, Window


def test_mesh_is_row_by_row_from_the_lower_left() -> None:
    window = Window(Interval(1.0, 3.0), Interval(5.0, 3.0))
    mesh = window.mesh(3)
    np.testing.assert_allclose(mesh[:4], [[-1, 3], [1, 3], [3, 3], [-1, 5]])
    assert (window.x.ticks(3).tolist(), window.y.ticks(3).tolist()) == ([-1, 1, 3], [3, 5, 7])


def test_window_around_points_ignores_outliers() -> None:
    points = np.concatenate([np.random.default_rng(0).uniform(-1, 1, (10_000, 2)), [[100.0, 0.0]]])
    window = Window.around(points)
    assert (window.x.centre, window.y.centre) == pytest.approx((0, 0), abs=0.01)
    assert (window.x.half, window.y.half) == pytest.approx((1.15, 1.15), abs=0.01)
    assert window.share_outside(points) == pytest.approx(1 / 10_001)


@pytest.mark.parametrize("unit", [1e-30, 1e-19, 1.0, 1e10, 1e30])
def test_window_has_the_units_of_its_points(unit: float) -> None:
    """Axes of one unit share a scale; of different units each has its own."""
    corners = np.array([[-1.0, -2.0], [1.0, 2.0]])
    alike = Window.around(corners * unit)
    assert (alike.x.half, alike.y.half) == pytest.approx((2.3 * unit, 2.3 * unit), rel=0.01)
    apart = Window.around(corners * [1.0, 3 * unit])
    assert (apart.x.half, apart.y.half) == pytest.approx((1.15, 6.9 * unit), rel=0.01)


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        ([5.0, 5.0, 5.0], (4.5, 5.5)),
        ([-1e-19], (-1.1e-19, -0.9e-19)),
        ([0.0, 0.0], (-1.0, 1.0)),
        ([np.nan, np.inf], (-1.0, 1.0)),
        ([np.nan, 1.0, 3.0, -np.inf], (2 - 1.15, 2 + 1.15)),
        ([0.0] * 5000 + [8.0], (4 - 4.6, 4 + 4.6)),
        ([-3e38, 3e38], (-3.45e38, 3.45e38)),
    ],
    ids=["constant", "one small value", "zeros", "none finite", "some finite", "rare", "largest of float32"],
)
def test_interval_around_any_values_has_a_width(values: list[float], ends: tuple[float, float]) -> None:
    assert Interval.around(np.array(values)).ends == pytest.approx(ends, rel=1e-2)


def test_interval_shows_all_values_but_an_outlier() -> None:
    low, high = Interval.around(np.array([*np.linspace(-1, 1, 80), 1e9])).ends
    assert -2 < low < -1
    assert 1 < high < 12
