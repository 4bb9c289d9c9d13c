"""Grids of images, and nearest training rows."""

import pytest
import torch

from ebm_cli.datasets import Digits
from ebm_cli.reporting.figures.image_grids import interleave_rows, is_image, nearest_training_rows, tile_images


def test_nearest_training_rows_finds_a_copy() -> None:
    """Rows of the training set, slightly changed, find themselves, in data units."""
    data = Digits(dequantise=False)
    rows = data.standardizer.inverse(data.reference)
    found = nearest_training_rows(rows[:20] + 0.3, data)
    assert torch.allclose(found, rows[:20], atol=1e-4)


def test_tile_images_keeps_order_and_range() -> None:
    images = torch.arange(11.0).view(11, 1, 1, 1).expand(11, 1, 3, 3)
    grid = tile_images(images, 0.0, 10.0, width=40)
    assert grid.shape == (10, 40, 3)
    assert (grid[0] == 255).all()  # a line between them
    centres = grid[2::5, 2::5, 0]
    assert centres[0].tolist() == [round(25.5 * i) for i in range(8)]
    assert centres[1].tolist() == [round(25.5 * i) for i in (8, 9, 10)] + [255] * 5
    assert tile_images(images, 0.0, 10.0, width=120).shape == (30, 120, 3)
    assert tile_images(images * torch.nan, 0.0, 10.0).min() == 255


def test_interleave_rows_puts_samples_above_neighbours() -> None:
    upper, lower = torch.arange(10.0), 100 + torch.arange(10.0)
    assert interleave_rows(upper, lower).tolist() == [*range(8), *range(100, 108), 8, 9, 108, 109]


@pytest.mark.parametrize(
    ("shape", "expected"), [((1, 8, 8), True), ((3, 32, 32), True), ((2,), False), ((2, 8, 8), False)]
)
def test_is_image_needs_one_or_three_channels(shape: tuple[int, ...], expected: bool) -> None:
    assert is_image(shape) is expected
