"""The perceptron of an energy, as the arguments of `chains.cpp` and `values.cpp`."""

import ctypes
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ebm_cli.derivatives import Linear
from ebm_cli.energies import MLP, Energy
from ebm_cli.system.torch_internals import has_hooks

ACTIVATIONS: dict[type[nn.Module], int] = {nn.SiLU: 0, nn.Softplus: 1, nn.Tanh: 2, nn.GELU: 3}
"""Numbers of the activations in vectors.h."""

i64 = ctypes.c_int64


class Layers(NamedTuple):
    """Layers of a perceptron; the pointers are right until a parameter moves.

    Attributes:
        weights: weights of the layers, of which the last has one output.
        biases: their biases.
        activation: number of the activation.
    """

    weights: list[Tensor]
    biases: list[Tensor]
    activation: int

    @property
    def n_hidden(self) -> int:
        """Number of hidden layers."""
        return len(self.weights) - 1

    @property
    def widths(self) -> "ctypes.Array[ctypes.c_int64]":
        """D and the widths of the hidden layers."""
        return (i64 * len(self.weights))(*(weight.shape[1] for weight in self.weights))


def layers_of(energy: Energy) -> Layers | None:
    """The layers of an energy, or None where native code does not compute it."""
    if type(energy) is not MLP:
        return None
    layers = list(energy.network.children())
    # A hook could change what a layer computes.
    hooked = any(map(has_hooks, (energy, energy.network, *layers)))
    linears = [m for m in layers if isinstance(m, nn.Linear) and type(m) in (nn.Linear, Linear)]
    kinds = {type(layer) for layer in layers if layer not in linears}
    weights: list[Tensor] = [m.weight for m in linears]
    biases: list[Tensor] = [m.bias for m in linears]
    known = len(kinds) == 1 and kinds <= ACTIVATIONS.keys() and len(layers) == 2 * len(linears) - 1
    if hooked or not known or not all(map(_is_readable, weights + biases)):
        return None
    return Layers(weights, biases, ACTIVATIONS[kinds.pop()])


def takes(energy: Energy, x: Tensor) -> bool:
    """True if native code reads such points of this energy."""
    return x.shape[1:] == energy.shape and len(x) > 0 and x.dtype == torch.float32 and x.is_cpu


def pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    """The address of a tensor's data, or the null pointer."""
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def pointers(tensors: list[Tensor]) -> "ctypes.Array[ctypes.c_void_p]":
    """The addresses of the data of several tensors."""
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


def _is_readable(tensor: Tensor) -> bool:
    return tensor.is_cpu and tensor.dtype == torch.float32 and tensor.is_contiguous()
