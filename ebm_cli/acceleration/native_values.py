"""Energies of a training step and their gradient in the weights, in native code: a part of `compile=native`.

A step of an objective that needs nothing but energies costs six products a layer in torch's hands, with an activation,
its slope and a sum between them that each read and write all activations. `values.cpp` keeps a block of points in cache
from the first layer to the last (docs/adr/0018).
"""

import ctypes
from collections.abc import Callable
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
        threads: ≥ 1, used where the compiler has OpenMP; results are the same for any number, bit for bit.
    """

    def __init__(self, threads: int) -> None:
        if threads < 1:
            raise ValueError(f"threads must be >= 1, got {threads}")
        self.threads = threads
        self._spare: list[Tensor] = []

    def evaluate(self, energy: Energy, x: Tensor) -> "NativeEvaluation | None":
        """Evaluate f at points [B, *D], or return None where values.cpp does not: for another energy, or points that
        are themselves differentiated."""
        layers = layers_of(energy)
        if layers is None or not takes(energy, x) or x.requires_grad or not torch.is_grad_enabled():
            return None
        assert isinstance(energy, MLP)
        return NativeEvaluation(self, layers, energy.base, x.detach().flatten(1).contiguous())

    def borrow(self, size: int) -> Tensor:
        """Memory of an evaluation [≥ size]: that of the last one, whose pages the process has already."""
        memory = self._spare.pop() if self._spare else None
        return memory if memory is not None and len(memory) >= size else torch.empty(size, dtype=torch.float32)

    def give_back(self, memory: Tensor) -> None:
        """Keep the memory of an evaluation that is over."""
        self._spare[:] = [memory]


class NativeEvaluation:
    """Energies at some points, and what their gradient in the weights needs.

    Args:
        native: what evaluates.
        layers: those of the energy.
        base: κ.
        x: points [B, D].

    Attributes:
        values: f(x) [B], without a graph.
    """

    def __init__(self, native: NativeValues, layers: Layers, base: float, x: Tensor) -> None:
        library = load_library()
        self._native, self._layers = native, layers
        self._size = (i64(layers.n_hidden), layers.widths, i64(len(x)))
        self._memory: Tensor | None = native.borrow(library.ebm_values_memory(*self._size))
        self.values = x.new_empty(len(x))
        library.ebm_values(
            i64(layers.activation),
            *self._size[:2],
            pointers(layers.weights),
            pointers(layers.biases),
            ctypes.c_double(base),
            self._size[2],
            *map(pointer, (x, self._memory, self.values)),
            i64(native.threads),
        )

    def differentiable(self) -> Tensor:
        """f(x) [B], differentiable once in the parameters."""
        return self._attach(self.values, None)

    def of_loss(self, loss: Tensor, slope: Tensor) -> Tensor:
        """A function of the energies, differentiable once in the parameters.

        Args:
            loss: its value [].
            slope: its derivative in each energy [B].
        """
        return self._attach(loss, slope)

    def gradient(self, g: Tensor) -> list[Tensor]:
        """The gradient of Σ_n g_n f(x_n), g [B], in the weights of all layers and then in their biases; once."""
        if self._memory is None:
            raise RuntimeError("the gradient of energies in native code can be taken only once")
        memory, self._memory = self._memory, None
        weights = [torch.empty_like(weight) for weight in self._layers.weights]
        biases = [torch.empty_like(bias) for bias in self._layers.biases]
        g = g.contiguous()
        load_library().ebm_values_backward(
            *self._size, pointer(memory), pointer(g), pointers(weights), pointers(biases), i64(self._native.threads)
        )
        self._native.give_back(memory)
        return weights + biases

    def _attach(self, output: Tensor, slope: Tensor | None) -> Tensor:
        attach: Callable[..., Tensor] = _Attached.apply
        return attach(self, output, slope, *self._layers.weights, *self._layers.biases)


class _Attached(torch.autograd.Function):
    """A function of the energies of an evaluation, as one node of the graph."""

    @staticmethod
    def forward(
        ctx: Any, evaluation: NativeEvaluation, output: Tensor, slope: Tensor | None, *parameters: Tensor
    ) -> Tensor:
        ctx.evaluation, ctx.slope = evaluation, slope
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, None, *ctx.evaluation.gradient(g if ctx.slope is None else g * ctx.slope)
