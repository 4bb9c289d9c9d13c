"""Handwritten digits of 28 × 28 pixels: the classical set of images."""

from typing import ClassVar, final

from ebm_cli.datasets.io.idx import read_idx
from ebm_cli.datasets.published_images import PublishedImages


@final
class MNIST(PublishedImages):
    """60,000 digits to train and validate on, 10,000 held out, as published: pixels 0 … 255, classes 0 … 9.

    Source: LeCun, Bottou, Bengio & Haffner (1998), Proc. IEEE 86(11); the checksums are those of torchvision. Any other
    set in the same four IDX files (KMNIST, for instance) can be put under `root` in their place.

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

    URL: ClassVar[str] = "https://ossci-datasets.s3.amazonaws.com/mnist/"
    PUBLISHED: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    }

    def __init__(
        self,
        root: str = "data/mnist",
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
