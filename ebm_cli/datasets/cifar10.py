"""Photographs of 32 × 32 pixels in ten classes."""

from typing import ClassVar, final

from ebm_cli.datasets.io.cifar import read_cifar10
from ebm_cli.datasets.published_images import PublishedImages


@final
class CIFAR10(PublishedImages):
    """50,000 photographs to train and validate on, 10,000 held out, as published: bytes, classes 0 … 9.

    Source: Krizhevsky (2009), "Learning multiple layers of features from tiny images", and the checksum of its page.
    The published batches are pickles; they are read without running them.

    Args:
        root: the folder of cifar-10-python.tar.gz, or of the cifar-10-batches-py that it unpacks to.
        download: download the archive if neither is there, and verify it by its published checksum.
        validation_fraction: share of the training images that training is monitored by, in (0, 1).
        n_train: images of the training set, ≥ 2; None takes all that are left.
        standardize: channels in [−1, 1], by one map for all of them; otherwise the identity.
        dequantise: uniform noise of one unit on every number (see `File`), whose range is then [0, 256).
        noise_std: standard deviation of Gaussian noise on every number, of 255, ≥ 0; fresh whenever a row is served.
        seed: of the split, the order of the held-out rows and the noise on validation and test rows, ≥ 0.

    Shapes: x [B, 3, 32, 32], channels red, green, blue.

    Raises:
        ValueError: a file that holds anything else, or a number out of its range.
        OSError: a file that is missing (the message says where to put it), or cannot be downloaded.
    """

    URL: ClassVar[str] = "https://www.cs.toronto.edu/~kriz/"
    ARCHIVE: ClassVar[str] = "cifar-10-python.tar.gz"
    MD5: ClassVar[str] = "c58f30108f718f92721af3b95e74349a"

    def __init__(
        self,
        root: str = "data/cifar10",
        download: bool = False,
        validation_fraction: float = 0.1,
        n_train: int | None = None,
        standardize: bool = True,
        dequantise: bool = True,
        noise_std: float = 0.0,
        seed: int = 0,
    ) -> None:
        files = read_cifar10(root, self.URL, self.ARCHIVE, self.MD5, download)
        super().__init__(files, validation_fraction, n_train, standardize, dequantise, noise_std, seed)
