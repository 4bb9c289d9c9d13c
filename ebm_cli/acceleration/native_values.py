"""Energies of a training step and their gradient in the weights, in native code: a part of `compile=native`.

A step of an objective that needs nothing but energies costs six products a layer in torch's hands, with an activation,
its slope and a sum between them that each read and write all activations. `values.cpp` keeps a block of points in cache
from the first layer to the last (docs/adr/0018).
"""

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ebm_cli.acceleration.native_build import load_library
from ebm_cli.acceleration.native_network import Layers, i64, layers_of, pointer, pointers, takes
from ebm_cli.energies import MLP, Energy


class NativeValues:
    """Evaluates an energy for a gradient in its weights; holds nothing of it but memory of one evaluation.

    Args:
        threads: ≥ 1; results are the same for any number, bit for bit.
    """

    def __init__(self, threads: int) -> None:
        if threads < 1:
            raise ValueError(f"threads must be >= 1, got {threads}")
        self.threads = threads
        self._spare: list[Tensor] = []

    def __call__(self, energy: Energy, x: Tensor) -> Tensor | None:
        """f(x) [B], differentiable once in the parameters, or None where values.cpp does not compute it: for another
        energy, or points [B, *D] that are themselves differentiated."""
        layers = layers_of(energy)
        if layers is None or not takes(energy, x) or x.requires_grad or not torch.is_grad_enabled():
            return None
        assert isinstance(energy, MLP)
        parameters = [p for layer in layers.linears for p in (layer.weight, layer.bias)]
        values: Tensor = _Values.apply(x.flatten(1).contiguous(), layers, energy.base, self, *parameters)  # type: ignore[no-untyped-call]  # torch has no annotation of it
        return values

    def borrow(self, size: int) -> Tensor:
        """Memory of an evaluation [≥ size]: that of the last one, whose pages the process has already."""
        memory = self._spare.pop() if self._spare else None
        return memory if memory is not None and len(memory) >= size else torch.empty(size, dtype=torch.float32)

    def give_back(self, memory: Tensor) -> None:
        """Keep the memory of an evaluation that is over."""
        self._spare[:] = [memory]


class _Values(torch.autograd.Function):
    """f(x), and the gradient of its weights."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layers: Layers, base: float, native: NativeValues, *parameters: Tensor) -> Tensor:
        library, widths = load_library(), layers.widths
        size = (i64(layers.n_hidden), widths, i64(len(x)))
        memory, f = native.borrow(library.ebm_values_memory(*size)), x.new_empty(len(x))
        library.ebm_values(
            i64(layers.activation),
            i64(layers.n_hidden),
            widths,
            layers.weights,
            layers.biases,
            ctypes.c_double(base),
            i64(len(x)),
            *map(pointer, (x, memory, f)),
            i64(native.threads),
        )
        ctx.evaluated = (size, memory, native, [p.shape for p in parameters])
        return f

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.evaluated is None:
            raise RuntimeError("the gradient of energies in native code can be taken only once")
        size, memory, native, shapes = ctx.evaluated
        ctx.evaluated = None
        gradients = [g.new_empty(shape) for shape in shapes]
        g = g.contiguous()
        load_library().ebm_values_backward(
            *size, pointer(memory), pointer(g), pointers(gradients[::2]), pointers(gradients[1::2]), i64(native.threads)
        )
        native.give_back(memory)
        return None, None, None, None, *gradients
