"""Handwritten digits of 28 × 28 pixels: the set that everybody knows."""

from typing import ClassVar, final

from ebm_cli.datasets.finite import Finite, split
from ebm_cli.datasets.io.idx import read_idx
from ebm_cli.datasets.io.images import TOP


@final
class MNIST(Finite):
    """60,000 digits to train and validate on, 10,000 held out, as published: pixels 0 … 255, classes 0 … 9.

    Source: LeCun, Bottou, Bengio & Haffner (1998), Proc. IEEE 86(11); the checksums are those of torchvision. Any set
    in the same four IDX files (KMNIST, say) can be put under `root` in their place.

    Args:
        root: the folder of its four IDX files, gzipped or not.
        download: fetch those that are not there, and hold them against their published checksums.
        validation_fraction: share of the training images that training is watched by, in (0, 1).
        n_train: images of the training set, ≥ 2; None takes all that are left.
        standardize: pixels in [−1, 1], by one map for all of them; else the identity.
        dequantise: uniform noise of one unit on every pixel (see `File`), which then reaches from 0 to 256.
        noise_std: standard deviation of Gaussian noise on every pixel, of 255, ≥ 0; fresh whenever a row is served.
        seed: of the split, the order of the held-out rows and the fixed rows' noise, ≥ 0.

    Shapes: x [B, 1, 28, 28].

    Raises:
        ValueError: a file that holds something else.
        OSError: a file that is not there, or cannot be fetched; the message says where to put it.
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
        found = read_idx(root, self.URL, self.PUBLISHED, download)
        super().__init__(
            found.x,
            split(found.n_rows, validation_fraction, None, n_train, seed, found.n_test),
            labels=found.labels,
            top=TOP,
            standardize=standardize,
            dequantise=dequantise,
            noise_std=noise_std,
            seed=seed,
        )
