"""Handwritten digits of 8 × 8 pixels, which come with scikit-learn: images that nobody has to fetch."""

from typing import final

import torch

from ebm_cli.datasets.finite import Finite, split

TOP = 16
"""A pixel counts the dark ones among 4 × 4 of the scanned digit."""


@final
class Digits(Finite):
    """1797 digits, the test set of Alpaydin & Kaynak (1998), UCI: pixels 0 … 16, classes 0 … 9.

    One map takes all pixels to [−1, 1], whether a row is an image or a list of 64: three are 0 in every row, and more
    in nearly every one, so that a scale of their own would blow them up.

    Args:
        image: rows of shape [1, 8, 8]; else [64].
        validation_fraction: share of the rows that training is watched by, in (0, 1); at least one row.
        test_fraction: share of the rows that is held out, in (0, 1); at least one row.
        n_train: rows of the training set, ≥ 2; None takes all that are left.
        standardize: pixels in [−1, 1]; else the identity.
        dequantise: uniform noise of one unit on every pixel (see `File`), which then reaches from 0 to 17.
        noise_std: standard deviation of Gaussian noise on every pixel, of 16, ≥ 0; fresh whenever a row is served.
        seed: of the split and of the fixed rows' noise, ≥ 0.
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

        found = load_digits()
        rows = torch.from_numpy(found.data).byte()
        parts = split(len(rows), validation_fraction, test_fraction, n_train, seed)
        super().__init__(
            rows.view(-1, 1, 8, 8) if image else rows,
            parts,
            labels=torch.from_numpy(found.target).long(),
            top=TOP,
            standardize=standardize,
            dequantise=dequantise,
            noise_std=noise_std,
            seed=seed,
        )
