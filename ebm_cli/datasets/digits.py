"""Handwritten digits of 8 × 8 pixels, which come with scikit-learn: images that need not be downloaded."""

from typing import final

import torch

from ebm_cli.datasets.finite import Finite
from ebm_cli.datasets.split import split

MAX_PIXEL = 16
"""A pixel counts the dark ones among 4 × 4 of the scanned digit."""


@final
class Digits(Finite):
    """1797 digits, the test set of Alpaydin & Kaynak (1998), UCI: pixels 0 … 16, classes 0 … 9.

    One map takes all pixels to [−1, 1], whether a row is an image or a list of 64 numbers: three pixels are 0 in every
    row and more in nearly every row, so that a scale for each pixel would divide these by almost nothing.

    Args:
        image: rows of shape [1, 8, 8]; otherwise [64].
        validation_fraction: share of the rows that training is monitored by, in (0, 1); at least one row.
        test_fraction: share of the rows that is held out, in (0, 1); at least one row.
        n_train: rows of the training set, ≥ 2; None takes all that are left.
        standardize: pixels in [−1, 1]; otherwise the identity.
        dequantise: uniform noise of one unit on every pixel (see `File`), whose range is then [0, 17).
        noise_std: standard deviation of Gaussian noise on every pixel, of 16, ≥ 0; fresh whenever a row is served.
        seed: of the split and of the noise on validation and test rows, ≥ 0.

    Shapes: x [B, 1, 8, 8] or [B, 64].

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(
        self,
        image: bool = True,
        validation_fraction: float = 0.1,
        test_fraction: float = 0.2,
        n_train: int | None = None,
        standardize: bool = True,
        dequantise: bool = True,
        noise_std: float = 0.0,
        seed: int = 0,
    ) -> None:
        from sklearn.datasets import load_digits

        loaded = load_digits()
        rows = torch.from_numpy(loaded.data).byte()
        super().__init__(
            rows.view(-1, 1, 8, 8) if image else rows,
            split(len(rows), validation_fraction, test_fraction, n_train, seed),
            labels=torch.from_numpy(loaded.target).long(),
            pixel_range=(0, MAX_PIXEL),
            standardize=standardize,
            dequantise=dequantise,
            noise_std=noise_std,
            seed=seed,
        )

    @property
    def is_table(self) -> bool:
        return len(self.shape) == 1
