"""Activations of a network energy, by name.

The default is smooth: a piecewise linear energy (relu, leaky_relu) has a Hessian that is zero almost everywhere, so
that score matching learns nothing from its curvature; `sm` and `ssm` refuse one.
"""

from collections.abc import Callable
from typing import Literal

from torch import nn

Activation = Literal["silu", "softplus", "tanh", "gelu", "relu", "leaky_relu"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
}

PIECEWISE_LINEAR = (nn.ReLU, nn.LeakyReLU, nn.ReLU6, nn.PReLU, nn.RReLU, nn.Hardtanh, nn.Threshold)
