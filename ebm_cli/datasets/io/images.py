"""What the readers of published images give: training images, then test images."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

TOP = 255
"""The brightest of a byte's grey levels."""


class Pictures(NamedTuple):
    """Bytes x [N + n_test, channels, height, width], the published test images behind the others, and their classes."""

    x: Tensor
    labels: Tensor
    n_test: int

    @property
    def n_rows(self) -> int:
        """N, the images to train and validate on."""
        return len(self.x) - self.n_test

    @classmethod
    def joined(cls, train: Sequence[tuple[Tensor, Tensor]], test: tuple[Tensor, Tensor]) -> "Pictures":
        """From (images, labels) of the training files and of the test file."""
        images, labels = zip(*train, test, strict=True)
        return cls(torch.cat(images), torch.cat(labels).long(), len(test[0]))
