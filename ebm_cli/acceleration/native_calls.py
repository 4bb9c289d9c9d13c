"""Kernels and chains as arguments of `chains.cpp`, and the calls of its library.

Whatever the library does not compute has no such arguments here: `Chains.of` then returns None, before any random
number is drawn.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf

import torch
from torch import Tensor

from ebm_cli.acceleration.native_build import load_library
from ebm_cli.acceleration.native_ladder import Ladder
from ebm_cli.acceleration.native_network import Layers, i64, layers_of, pointer, pointers, takes
from ebm_cli.acceleration.native_noise import Noise
from ebm_cli.energies import MLP, Energy
from ebm_cli.samplers import Info, Kernel, Preconditioned, State
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from ebm_cli.samplers.tempering import ENERGY, GRAD, Tempering, X

KERNELS: dict[type[Kernel], int] = {Langevin: 0, MALA: 1, HMC: 2}
"""Numbers of the kernels in chains.cpp."""


def uncovered(kernel: Kernel) -> str | None:
    """Return why chains.cpp has no such kernel; None if it has."""
    if isinstance(kernel, Tempering):
        has_test = kernel.target_accept is not None
        return uncovered(kernel.inner) if has_test else "native replicas need sampler.kernel=mala or hmc"
    if type(kernel) not in KERNELS:
        return f"native chains are {', '.join(known.__name__ for known in KERNELS)}, not {type(kernel).__name__}"
    if isinstance(kernel, Preconditioned) and kernel.metric != "none":
        return "native chains have no metric: set sampler.metric=none"
    return None


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
        """The settings of a kernel's steps, or of those of the cold replica."""
        kernel = kernel.inner if isinstance(kernel, Tempering) else kernel
        of_langevin = (1.0, inf, inf)
        if isinstance(kernel, Langevin):
            of_langevin = (kernel.noise_scale, kernel.clamp_grad or inf, kernel.clamp_sample or inf)
        jitter, n_leapfrog = (kernel.jitter, kernel.n_leapfrog) if isinstance(kernel, HMC) else (0.0, 0)
        return cls(kernel.step_size, kernel.temperature, *of_langevin, jitter, n_leapfrog)


class Chains:
    """Running chains: their state in torch's memory, and the network as the library reads it.

    Args:
        kernel: one that is not `uncovered`.
        energy: the energy of the chains.
        layers: its layers.
        start: starting points [B, *D], not empty, or a state, as in `samplers.run`; copied.

    Attributes:
        x: positions [B, *D]; under tempering those of all replicas [R, B, *D].
        ladder: None without tempering.
    """

    def __init__(self, kernel: Kernel, energy: MLP, layers: Layers, start: Tensor | State) -> None:
        x = _points(start)
        moved = kernel.inner if isinstance(kernel, Tempering) else kernel
        self.kind = KERNELS[type(moved)]
        self.has_test = moved.target_accept is not None
        self.has_jitter = isinstance(moved, HMC) and moved.jitter > 0
        self.base = energy.base
        self.is_evaluated = isinstance(kernel, Tempering) and isinstance(start, State)
        self.ladder = None
        if isinstance(kernel, Tempering):
            self.ladder = Ladder(kernel, x, start if isinstance(start, State) else None)
        if isinstance(start, State) and self.ladder is not None:
            self.x, self.energy, self.grad = (_copy(start.aux[name]) for name in (X, ENERGY, GRAD))
        else:
            self.x = _copy(x) if self.ladder is None else self.ladder.rows(x)
            self.energy, self.grad = x.new_empty(self.x.shape[: self.x.dim() - x.dim() + 1]), torch.empty_like(self.x)
        self.n_chains = len(x)
        self.accept = x.new_zeros(len(x))
        self.activation = layers.activation
        self.n_hidden, self.widths, self.biases = layers.n_hidden, layers.widths, pointers(layers.biases)
        *hidden, last = layers.weights
        self.out = last.data_ptr()
        self.packed = x.new_empty(2 * sum(weight.numel() for weight in hidden))
        load_library().ebm_pack(i64(self.n_hidden), self.widths, pointers(hidden), pointer(self.packed))

    @classmethod
    def of(cls, kernel: Kernel, energy: Energy, start: Tensor | State) -> "Chains | None":
        """The chains, or None where the library does not compute them."""
        layers, x = layers_of(energy), _points(start)
        if layers is None or uncovered(kernel) is not None or not takes(energy, x):
            return None
        assert isinstance(energy, MLP)
        return cls(kernel, energy, layers, start)

    def noise(self, n_steps: int) -> Noise:
        """Memory for the random numbers of n_steps steps."""
        if self.ladder is None:
            return Noise.allocate(self.x, n_steps, self.has_test, self.has_jitter)
        return Noise.allocate(
            self.x.flatten(0, 1), n_steps, self.has_test, self.has_jitter, self.ladder.moves, self.ladder.rates
        )

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
        ladder = self.ladder
        of_ladder = (i64(0), i64(1), *[pointer(None)] * 5)
        if ladder is not None:
            counted = map(pointer, (noise.exchange, ladder.marks, ladder.rates, ladder.trips))
            of_ladder = (i64(len(ladder.betas)), i64(ladder.moves), ladder.betas, *counted)
        job = load_library().ebm_start(
            *map(i64, (self.kind, self.activation, self.n_hidden)),
            self.widths,
            pointer(self.packed),
            self.biases,
            ctypes.c_void_p(self.out),
            ctypes.c_double(self.base),
            *map(i64, (self.n_chains, n_steps, start, thin, self.is_evaluated or start > 0)),
            steps,
            *map(
                pointer, (noise.normal, noise.uniform, noise.jitter, self.x, self.energy, self.grad, self.accept, kept)
            ),
            *of_ladder,
            i64(helpers),
        )
        try:
            yield
        finally:
            load_library().ebm_finish(ctypes.c_void_p(job), i64(team))

    def state(self) -> State:
        """The state that the kernel's own `step` would return."""
        if self.ladder is not None:
            return self.ladder.state(self.x, self.energy, self.grad)
        return State(self.x, self.energy, self.grad, {}) if self.has_test else State(self.x, None, None, {})

    def info(self, n_steps: int) -> Info:
        """Mean diagnostics over n_steps steps; the acceptance is 1 for a kernel without a Metropolis test."""
        if self.ladder is not None:
            return self.ladder.info(self.accept, n_steps)
        total = self.accept if self.has_test else torch.full_like(self.accept, n_steps)
        return Info(total / n_steps)


def _points(start: Tensor | State) -> Tensor:
    return start.x if isinstance(start, State) else start


def _copy(x: Tensor) -> Tensor:
    return x.detach().clone(memory_format=torch.contiguous_format)
