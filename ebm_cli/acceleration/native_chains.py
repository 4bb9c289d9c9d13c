"""Langevin, MALA and HMC on a perceptron's energy in native code: what `compile=native` runs.

The source beside this file advances a block of chains through many steps before it turns to the next block, so that the
block stays in cache; see there, and docs/adr/0018. The noise is the torch path's (`noise`): the chains are the same
chains, up to rounding.
"""

import ctypes
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil, inf
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ebm_cli.acceleration.native_build import LibraryUnavailable, load_library
from ebm_cli.acceleration.native_noise import Noise
from ebm_cli.derivatives import Linear
from ebm_cli.energies import MLP, Energy
from ebm_cli.samplers import Info, Kernel, Schedule, State
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from ebm_cli.system.torch_internals import has_hooks

KERNELS: dict[type[Kernel], int] = {Langevin: 0, MALA: 1, HMC: 2}
ACTIVATIONS: dict[type[nn.Module], int] = {nn.SiLU: 0, nn.Softplus: 1, nn.Tanh: 2, nn.GELU: 3}
"""The numbers that chains.cpp gives them."""
NOISE = 2**18
"""Normal numbers drawn at a time, unless one step needs more: 1 MiB, which stays in cache."""


def attach_native_chains(energy: Energy, threads: int, kernels: Iterable[Kernel] = ()) -> str | None:
    """Let the chains of an energy run in native code from here on: `energy.native` is set.

    `samplers.run` and `samplers.trace` then use it wherever it holds, and the torch path everywhere else (another
    kernel, float64, another device). Builds the library on the first call on a machine, in seconds.

    Args:
        energy: whose chains; its weights may change, they are read at the start of every run.
        threads: ≥ 1; results do not depend on it, not by a bit.
        kernels: those that are going to run; one that has no native code is a reason, too.

    Returns:
        None, or, as one sentence to print, why chains stay in torch; the energy is then left as it was.
    """
    why = _why_not(energy, kernels)
    if why is None:
        energy.native = NativeChains(threads)
        return None
    return f"{why}; chains run in torch"


def _why_not(energy: Energy, kernels: Iterable[Kernel]) -> str | None:
    unknown = [type(kernel).__name__ for kernel in kernels if type(kernel) not in KERNELS]
    if unknown:
        return f"native chains are {', '.join(kernel.__name__ for kernel in KERNELS)}, not {unknown[0]}"
    if type(energy) is not MLP:
        return f"native chains need energy=mlp, not {type(energy).__name__}"
    if _layers_of(energy) is None:
        return "native chains need float32 on a CPU, and an activation among silu, softplus, tanh, gelu"
    try:
        load_library()
    except LibraryUnavailable as why:
        return f"native chains cannot be had here, {why}"
    return None


@dataclass(frozen=True)
class NativeChains:
    """Runs chains in native code where it can; a value, which holds nothing of an energy.

    Args:
        threads: ≥ 1.
    """

    threads: int

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ValueError(f"threads must be >= 1, got {self.threads}")

    def run(
        self,
        kernel: Kernel,
        energy: Energy,
        x: Tensor,
        n_steps: int,
        rng: torch.Generator,
        schedule: Schedule | None = None,
    ) -> tuple[State, Info] | None:
        """`samplers.run`, or None where it is not covered: nothing is drawn then.

        Memory: twice NOISE numbers, or those of two steps if they are more.
        """
        chains = _Chains.of(kernel, energy, x)
        if chains is None:
            return None
        for _ in self._advance(chains, kernel, n_steps, rng, schedule, None, 1):
            pass
        return chains.state(), chains.info(n_steps)

    def trace(
        self,
        kernel: Kernel,
        energy: Energy,
        x: Tensor,
        n_steps: int,
        thin: int,
        rng: torch.Generator,
        progress: Callable[[int], None] | None = None,
    ) -> tuple[Tensor, Info] | None:
        """`samplers.trace`, or None where it is not covered: nothing is drawn then."""
        chains = _Chains.of(kernel, energy, x)
        if chains is None:
            return None
        draws = x.new_empty(n_steps // thin, *x.shape)
        told = 0
        for done in self._advance(chains, kernel, n_steps, rng, None, draws, thin):
            while progress is not None and told + thin <= done:
                told += thin
                progress(told)
        return draws, chains.info(n_steps)

    def _advance(
        self,
        chains: "_Chains",
        kernel: Kernel,
        n_steps: int,
        rng: torch.Generator,
        schedule: Schedule | None,
        draws: Tensor | None,
        thin: int,
    ) -> Iterator[int]:
        """Yield the number of steps done, chunk by chunk."""
        x = chains.x
        size = max(1, min(n_steps, NOISE // x.numel()))
        fixed = None if schedule else (_Step * size)(*[_Step.of(kernel)] * size)
        pooled = bool(load_library().ebm_pooled())
        rooms = [Noise.room(x, size, chains.tested) for _ in range(2 if n_steps > size else 1)]
        rooms[0].draw(min(size, n_steps), rng)
        # A run of no steps takes one turn, too: its state holds what the start evaluates.
        for i in range(max(1, ceil(n_steps / size))):
            done = i * size
            count, left = min(size, n_steps - done), n_steps - done - size
            steps = fixed
            if schedule is not None:
                kernels = (replace(kernel, **schedule(j)) for j in range(done, done + count))
                steps = (_Step * count)(*map(_Step.of, kernels))
            kept = None if draws is None else draws[done // thin :]
            # Where there is nothing to draw meanwhile, torch's own pool: its threads, which spin for a while behind an
            # operation, would be in the way of others.
            helpers, team = (1, self.threads) if pooled and left <= 0 else (self.threads, 1)
            with chains.advancing(count, done, thin, steps, rooms[i % 2], kept, helpers, team):
                if left > 0:
                    rooms[(i + 1) % 2].draw(min(size, left), rng)
            yield done + count


class _Step(ctypes.Structure):
    """What a step is made with; `Step` of chains.cpp."""

    _fields_ = (
        *(
            (name, ctypes.c_double)
            for name in ("step_size", "temperature", "noise_scale", "clamp_grad", "clamp_sample")
        ),
        ("n_leapfrog", ctypes.c_int64),
    )

    @classmethod
    def of(cls, kernel: Kernel) -> "_Step":
        free = (1.0, inf, inf)
        if isinstance(kernel, Langevin):
            free = (kernel.noise_scale, kernel.clamp_grad or inf, kernel.clamp_sample or inf)
        return cls(kernel.step_size, kernel.temperature, *free, kernel.n_leapfrog if isinstance(kernel, HMC) else 0)


class _Layers(NamedTuple):
    """The linear layers of a network, the last with one output, and the number of its activation."""

    linears: list[nn.Linear]
    activation: int


def _layers_of(energy: Energy) -> _Layers | None:
    """What chains.cpp computes with, or None where it computes something else."""
    if type(energy) is not MLP:
        return None
    layers = list(energy.network.children())
    # A hook could change what a layer computes.
    hooked = any(map(has_hooks, (energy, energy.network, *layers)))
    linears = [m for m in layers if isinstance(m, nn.Linear) and type(m) in (nn.Linear, Linear)]
    kinds = {type(layer) for layer in layers if layer not in linears}
    plain = all(_plain(m.weight) and _plain(m.bias) for m in linears)
    known = len(kinds) == 1 and kinds <= ACTIVATIONS.keys() and len(layers) == 2 * len(linears) - 1
    return _Layers(linears, ACTIVATIONS[kinds.pop()]) if known and plain and not hooked else None


def _plain(tensor: Tensor) -> bool:
    return tensor.dtype == torch.float32 and tensor.device.type == "cpu" and tensor.is_contiguous()


class _Chains:
    """Chains on their way: their state, and the network as the library wants it."""

    def __init__(self, kernel: Kernel, energy: MLP, layers: _Layers, x: Tensor) -> None:
        self.kind = KERNELS[type(kernel)]
        self.tested = kernel.target_accept is not None
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
        load_library().ebm_pack(_i64(self.n_hidden), self.widths, weights, _ptr(self.packed))

    @classmethod
    def of(cls, kernel: Kernel, energy: Energy, x: Tensor) -> "_Chains | None":
        """The chains, or None where the library does not cover them."""
        layers = _layers_of(energy)
        fits = x.shape[1:] == energy.shape and len(x) > 0 and x.dtype == torch.float32 and x.device.type == "cpu"
        if layers is None or type(kernel) not in KERNELS or not fits:
            return None
        assert isinstance(energy, MLP)
        return cls(kernel, energy, layers, x)

    @contextmanager
    def advancing(
        self,
        n_steps: int,
        start: int,
        thin: int,
        steps: ctypes.Array[_Step] | None,
        noise: Noise,
        kept: Tensor | None,
        helpers: int,
        team: int,
    ) -> Iterator[None]:
        """Inside, helpers − 1 threads advance the chains; at its end a team helps them, and all have advanced."""
        job = load_library().ebm_start(
            *map(_i64, (self.kind, self.activation, self.n_hidden)),
            self.widths,
            _ptr(self.packed),
            self.biases,
            ctypes.c_void_p(self.out),
            ctypes.c_double(self.base),
            *map(_i64, (len(self.x), n_steps, start, thin)),
            steps,
            *map(_ptr, (noise.normal, noise.uniform, self.x, self.energy, self.grad, self.accept, kept)),
            _i64(helpers),
        )
        try:
            yield
        finally:
            load_library().ebm_finish(ctypes.c_void_p(job), _i64(team))

    def state(self) -> State:
        """As the kernel's own `step` leaves it."""
        return State(self.x, self.energy, self.grad, {}) if self.tested else State(self.x, None, None, {})

    def info(self, n_steps: int) -> Info:
        total = self.accept if self.tested else torch.full_like(self.accept, n_steps)
        return Info(total / n_steps)


_i64 = ctypes.c_int64


def _ptr(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())
