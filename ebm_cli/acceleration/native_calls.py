"""Kernels, networks and chains as arguments of `chains.cpp`, and the calls of its library.

Whatever the library does not compute has no such arguments here: `Chains.of` then returns None, before any random
number is drawn.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ebm_cli.acceleration.native_build import load_library
from ebm_cli.acceleration.native_noise import Noise
from ebm_cli.derivatives import Linear
from ebm_cli.energies import MLP, Energy
from ebm_cli.samplers import Info, Kernel, Metric, Preconditioned, State
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from ebm_cli.system.torch_internals import has_hooks

KERNELS: dict[type[Kernel], int] = {Langevin: 0, MALA: 1, HMC: 2}
ACTIVATIONS: dict[type[nn.Module], int] = {nn.SiLU: 0, nn.Softplus: 1, nn.Tanh: 2, nn.GELU: 3}
"""Numbers of the kernels and activations in chains.cpp."""


class Step(ctypes.Structure):
    """Settings of one step; `Step` in chains.cpp."""

    _fields_ = (
        *(
            (name, ctypes.c_double)
            for name in ("step_size", "temperature", "noise_scale", "clamp_grad", "clamp_sample", "jitter")
        ),
        ("n_leapfrog", ctypes.c_int64),
    )

    @classmethod
    def of(cls, kernel: Kernel) -> "Step":
        """The settings of a kernel's steps."""
        of_langevin = (1.0, inf, inf)
        if isinstance(kernel, Langevin):
            of_langevin = (kernel.noise_scale, kernel.clamp_grad or inf, kernel.clamp_sample or inf)
        jitter, n_leapfrog = (kernel.jitter, kernel.n_leapfrog) if isinstance(kernel, HMC) else (0.0, 0)
        return cls(kernel.step_size, kernel.temperature, *of_langevin, jitter, n_leapfrog)


class Layers(NamedTuple):
    """The linear layers of a network, of which the last has one output, and the number of its activation."""

    linears: list[nn.Linear]
    activation: int


def layers_of(energy: Energy) -> Layers | None:
    """The layers of an energy, or None where chains.cpp does not compute it."""
    if type(energy) is not MLP:
        return None
    layers = list(energy.network.children())
    # A hook could change what a layer computes.
    hooked = any(map(has_hooks, (energy, energy.network, *layers)))
    linears = [m for m in layers if isinstance(m, nn.Linear) and type(m) in (nn.Linear, Linear)]
    kinds = {type(layer) for layer in layers if layer not in linears}
    readable = all(_is_readable(m.weight) and _is_readable(m.bias) for m in linears)
    known = len(kinds) == 1 and kinds <= ACTIVATIONS.keys() and len(layers) == 2 * len(linears) - 1
    return Layers(linears, ACTIVATIONS[kinds.pop()]) if known and readable and not hooked else None


def _is_readable(tensor: Tensor) -> bool:
    return tensor.dtype == torch.float32 and tensor.device.type == "cpu" and tensor.is_contiguous()


class Chains:
    """Running chains: their state in torch's memory, and the network as the library reads it.

    Args:
        kernel: one of `KERNELS`.
        energy: the energy of the chains.
        layers: its layers.
        x: starting points [B, *D], not empty; copied.
    """

    def __init__(self, kernel: Kernel, energy: MLP, layers: Layers, x: Tensor) -> None:
        self.kind = KERNELS[type(kernel)]
        self.has_test = kernel.target_accept is not None
        self.has_jitter = isinstance(kernel, HMC) and kernel.jitter > 0
        self.base = energy.base
        self.x = x.detach().clone(memory_format=torch.contiguous_format)
        self.energy = x.new_empty(len(x))
        self.grad = torch.empty_like(self.x)
        self.accept = x.new_zeros(len(x))
        self.activation = layers.activation
        *hidden, last = layers.linears
        self.n_hidden = len(hidden)
        self.widths = (ctypes.c_int64 * (len(hidden) + 1))(hidden[0].in_features, *(m.out_features for m in hidden))
        weights = (ctypes.c_void_p * len(hidden))(*(m.weight.data_ptr() for m in hidden))
        self.biases = (ctypes.c_void_p * len(layers.linears))(*(m.bias.data_ptr() for m in layers.linears))
        self.out = last.weight.data_ptr()
        self.packed = x.new_empty(2 * sum(m.weight.numel() for m in hidden))
        load_library().ebm_pack(_i64(self.n_hidden), self.widths, weights, _pointer(self.packed))

    @classmethod
    def of(cls, kernel: Kernel, energy: Energy, x: Tensor) -> "Chains | None":
        """The chains, or None where the library does not compute them."""
        layers = layers_of(energy)
        fits = x.shape[1:] == energy.shape and len(x) > 0 and x.dtype == torch.float32 and x.device.type == "cpu"
        shaped = isinstance(kernel, Preconditioned) and isinstance(kernel.metric, Metric)
        if layers is None or type(kernel) not in KERNELS or shaped or not fits:
            return None
        assert isinstance(energy, MLP)
        return cls(kernel, energy, layers, x)

    @contextmanager
    def advancing(
        self,
        n_steps: int,
        start: int,
        thin: int,
        steps: ctypes.Array[Step] | None,
        noise: Noise,
        kept: Tensor | None,
        helpers: int,
        team: int,
    ) -> Iterator[None]:
        """Inside, helpers − 1 threads advance the chains; at the end a team joins them, until all have advanced.

        Args:
            n_steps: number of steps.
            start: steps that were done before.
            thin: steps from one kept position to the next.
            steps: settings of each step.
            noise: random numbers of the steps.
            kept: memory for the kept positions [n, B, *D], or None to keep none.
            helpers: threads inside the block, with the caller's own.
            team: threads of OpenMP's pool at the end.
        """
        job = load_library().ebm_start(
            *map(_i64, (self.kind, self.activation, self.n_hidden)),
            self.widths,
            _pointer(self.packed),
            self.biases,
            ctypes.c_void_p(self.out),
            ctypes.c_double(self.base),
            *map(_i64, (len(self.x), n_steps, start, thin)),
            steps,
            *map(
                _pointer, (noise.normal, noise.uniform, noise.jitter, self.x, self.energy, self.grad, self.accept, kept)
            ),
            _i64(helpers),
        )
        try:
            yield
        finally:
            load_library().ebm_finish(ctypes.c_void_p(job), _i64(team))

    def state(self) -> State:
        """The state that the kernel's own `step` would return."""
        return State(self.x, self.energy, self.grad, {}) if self.has_test else State(self.x, None, None, {})

    def info(self, n_steps: int) -> Info:
        """Mean acceptance over n_steps steps; 1 for a kernel without a Metropolis test."""
        total = self.accept if self.has_test else torch.full_like(self.accept, n_steps)
        return Info(total / n_steps)


_i64 = ctypes.c_int64


def _pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())
