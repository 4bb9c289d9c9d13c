"""Convolutions of image energies, with a bound on their spectral norm."""

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


def require_image(shape: tuple[int, ...]) -> None:
    """Raise ValueError for points that are not images [channels, height, width]."""
    if len(shape) != 3:
        raise ValueError(
            f"convolutions need images, points of shape [channels, height, width], got points of shape {list(shape)}: "
            "choose a dataset of images, or energy=mlp"
        )


def conv3x3(n_in: int, n_out: int, stride: int = 1) -> nn.Conv2d:
    """Make a 3 × 3 convolution that divides the size of the image by the stride, rounded up."""
    return nn.Conv2d(n_in, n_out, kernel_size=3, stride=stride, padding=1)


def bound_spectral_norm(conv: nn.Module) -> nn.Module:
    """Give the convolution the weight W/σ(W), σ the largest singular value of W as a matrix [n_out, n_in · 3 · 3].

    Each forward pass in training mode takes one step of the power method for σ, whose vectors are buffers; in eval mode
    they are constant. Source: Miyato, Kataoka, Koyama & Yoshida (2018), "Spectral normalization for generative
    adversarial networks", Algorithm 1.
    """
    parametrised: nn.Module = spectral_norm(conv)
    return parametrised


def to_channels_last(network: nn.Sequential) -> nn.Sequential:
    """Store the kernels in the order [n_out, height, width, n_in]; the outputs of the convolutions follow it.

    This makes convolutions of large batches of small images up to twice as fast on a CPU.
    """
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network
