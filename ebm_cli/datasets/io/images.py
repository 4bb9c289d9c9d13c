"""Images and labels as the readers of published image files return them: training images, then test images."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class ImageFiles(NamedTuple):
    """Images with their classes, the published test images last.

    Attributes:
        x: bytes [N + n_test, channels, height, width].
        labels: classes [N + n_test], integers from 0.
        n_test: number of test images.
    """

    x: Tensor
    labels: Tensor
    n_test: int

    @property
    def n_rows(self) -> int:
        """N, the number of images to train and validate on."""
        return len(self.x) - self.n_test

    @classmethod
    def join(cls, train: Sequence[tuple[Tensor, Tensor]], test: tuple[Tensor, Tensor]) -> "ImageFiles":
        """Join the (images, labels) of each training file and of the test file."""
        images, labels = zip(*train, test, strict=True)
        return cls(torch.cat(images), torch.cat(labels).long(), len(test[0]))
