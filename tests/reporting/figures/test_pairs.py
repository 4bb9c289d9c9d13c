"""Pictures of the first columns in pairs: their tick labels."""

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ebm_cli.reporting.figures.pairs import pair_figure

SCALES = {"income": 25_000.0, "age": 40.0, "small": 3e-4, "debt": -3e6}


@pytest.fixture
def figure() -> Figure:
    rows = np.random.default_rng(0).lognormal(0, 0.5, (500, len(SCALES))) * list(SCALES.values())
    made = pair_figure(rows, rows[::-1], list(SCALES))
    FigureCanvasAgg(made).draw()  # type: ignore[no-untyped-call]
    return made


def test_tick_labels_do_not_touch(figure: Figure) -> None:
    for ax in figure.axes[-len(SCALES) :]:
        boxes = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
        inside = [box for box in boxes if ax.bbox.x0 <= (box.x0 + box.x1) / 2 <= ax.bbox.x1]
        assert len(inside) >= 2
        assert all(left.x1 < right.x0 for left, right in itertools.pairwise(sorted(inside, key=lambda box: box.x0)))


def test_large_numbers_have_a_prefix(figure: Figure) -> None:
    texts = ["".join(label.get_text() for label in ax.get_xticklabels()) for ax in figure.axes[-len(SCALES) :]]
    assert ["k" in texts[0], "M" in texts[-1], "k" in texts[1]] == [True, True, False]
