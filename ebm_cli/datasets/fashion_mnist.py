"""Clothes of 28 × 28 pixels: a harder set in the form of MNIST."""

from typing import ClassVar, final

from ebm_cli.datasets.io.idx import read_idx
from ebm_cli.datasets.published_images import PublishedImages


@final
class FashionMNIST(PublishedImages):
    """60,000 photographs to train and validate on, 10,000 held out, as published: pixels 0 … 255, classes 0 … 9.

    Source: Xiao, Rasul & Vollgraf (2017), arXiv:1708.07747, with the checksums of its README.

    Args:
        root: the folder of its four IDX files, gzipped or not.
        download: download missing files, and verify them by their published checksums.
        validation_fraction: share of the training images that training is monitored by, in (0, 1).
        n_train: images of the training set, ≥ 2; None takes all that are left.
        standardize: pixels in [−1, 1], by one map for all of them; otherwise the identity.
        dequantise: uniform noise of one unit on every pixel (see `File`), whose range is then [0, 256).
        noise_std: standard deviation of Gaussian noise on every pixel, of 255, ≥ 0; fresh whenever a row is served.
        seed: of the split, the order of the held-out rows and the noise on validation and test rows, ≥ 0.

    Shapes: x [B, 1, 28, 28].

    Raises:
        ValueError: a file that holds anything else, or a number out of its range.
        OSError: a file that is missing (the message says where to put it), or cannot be downloaded.
    """

    URL: ClassVar[str] = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
    PUBLISHED: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    }

    def __init__(
        self,
        root: str = "data/fashion_mnist",
        download: bool = False,
        validation_fraction: float = 0.1,
        n_train: int | None = None,
        standardize: bool = True,
        dequantise: bool = True,
        noise_std: float = 0.0,
        seed: int = 0,
    ) -> None:
        files = read_idx(root, self.URL, self.PUBLISHED, download)
        super().__init__(files, validation_fraction, n_train, standardize, dequantise, noise_std, seed)
