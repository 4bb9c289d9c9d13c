"""Published image sets: training images that are split, and test images that stay test images."""

from abc import ABC, abstractmethod

from ebm_cli.datasets.finite import Finite
from ebm_cli.datasets.io.images import ImageFiles
from ebm_cli.datasets.split import split

MAX_PIXEL = 255
"""The brightest grey level of a byte."""


class PublishedImages(Finite, ABC):
    """Images of bytes with classes; the published test images are held out.

    Subclasses repeat its arguments, because the keys of an option are exactly its constructor's parameters.

    Args:
        files: the images and labels as their files hold them.
        validation_fraction: share of the training images that training is monitored by, in (0, 1).
        n_train: images of the training set, ≥ 2; None takes all that are left.
        standardize: pixels in [−1, 1], by one map for all of them; otherwise the identity.
        dequantise: uniform noise of one unit on every pixel (see `File`), whose range is then [0, 256).
        noise_std: standard deviation of Gaussian noise on every pixel, of 255, ≥ 0; fresh whenever a row is served.
        seed: of the split, the order of the held-out rows and the noise on validation and test rows, ≥ 0.

    Raises:
        ValueError: a number out of its range.
    """

    @abstractmethod
    def __init__(
        self,
        files: ImageFiles,
        validation_fraction: float,
        n_train: int | None,
        standardize: bool,
        dequantise: bool,
        noise_std: float,
        seed: int,
    ) -> None:
        super().__init__(
            files.x,
            split(files.n_rows, validation_fraction, None, n_train, seed, files.n_test),
            labels=files.labels,
            pixel_range=(0, MAX_PIXEL),
            standardize=standardize,
            dequantise=dequantise,
            noise_std=noise_std,
            seed=seed,
        )
