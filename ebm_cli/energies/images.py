"""What the energies of images share: which points are images, and how a convolution's size is bounded."""

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


def check_image(shape: tuple[int, ...]) -> None:
    """Raise ValueError for points that are not images [channels, height, width]."""
    if len(shape) != 3:
        raise ValueError(
            f"convolutions take images, points of shape [channels, height, width]; these have the shape {list(shape)}: "
            "choose a dataset of images, or energy=mlp"
        )


def conv3x3(n_in: int, n_out: int, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps the picture's size, or divides it by the stride and rounds up."""
    return nn.Conv2d(n_in, n_out, kernel_size=3, stride=stride, padding=1)


def bounded(conv: nn.Module) -> nn.Module:
    """The convolution with the weight W/σ(W), σ the largest singular value of W as a matrix [n_out, n_in · 3 · 3].

    σ comes from one step of the power method for each forward pass in training; its vectors are buffers, and in eval
    mode nothing moves. Source: Miyato, Kataoka, Koyama & Yoshida (2018), "Spectral normalization for generative
    adversarial networks", Algorithm 1.
    """
    made: nn.Module = spectral_norm(conv)
    return made


def channels_last(network: nn.Sequential) -> nn.Sequential:
    """The same network, with its kernels in memory as [n_out, height, width, n_in]; what they produce follows.

    Large batches of small images then go through a convolution up to twice as fast on a CPU.
    """
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network
