"""The modes of `compile=`: eager torch, compiled derivatives, or native code.

    never    eager torch
    always   compiled: the derivatives in x of a training step, on a GPU also its chains (`derivatives.compiled`)
    native   eager torch, with chains and the energies of training steps in native code (`native_code`)
    auto     always or native where it repays the time that compiling takes, else never: a fixed rule on the work and on
             whether there is a compiler, without a timing or a look into a cache

The resolved mode is stored in the checkpoint and used again on resume: compiled code rounds differently.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ebm_cli.acceleration.native_build import missing_compiler
from ebm_cli.acceleration.native_code import attach_native_code, covers, covers_values
from ebm_cli.derivatives import Compiled, matmul, supports
from ebm_cli.energies import Energy
from ebm_cli.samplers import Kernel

CompileMode = Literal["auto", "always", "never", "native"]

WORTH_AFTER = 100_000
"""Steps of a small network on a CPU that save more than compiling costs: 0.35 ms each against 25 s."""
LARGE_STEP = 4e7
"""Directions × points × parameters of a step that saves twice as much, because compiled code works in cache. Where
products are oneDNN's, a large step saves no more than a small one (docs/adr/0019)."""
WORTH_AFTER_ON_GPU = 5_000
"""The same on a GPU, where a step is mostly launches of kernels, and a compiled one is a single launch."""
NATIVE_AFTER = 16_000
"""Gradients of a small network that save more in native code than its build costs: 0.13 ms each against 2 s."""
LARGE_GRADIENT = 3e6
"""Points × parameters of a gradient that saves twice as much."""
VALUES_AFTER = 1.4e11
"""Points × parameters of the energies of all steps that save twice the two seconds of a build: 0.03 ms a million."""


class ChainWork(NamedTuple):
    """Chains that are going to run.

    Args:
        kernel: their transition.
        n_runs: runs of all chains, one after the other, ≥ 0.
        n_steps: of every run, ≥ 1.
        n_chains: ≥ 1.
    """

    kernel: Kernel
    n_runs: int
    n_steps: int
    n_chains: int

    @property
    def n_gradients(self) -> float:
        """Gradients one after the other, each of all chains."""
        return self.n_runs * self.kernel.evaluations(self.n_steps).grad


@dataclass(frozen=True)
class Work:
    """The derivatives that a run takes.

    Args:
        steps: training steps, ≥ 0.
        n_rows: points a step, ≥ 1.
        directions: of the second derivatives, ≥ 0; None where no derivative in x is taken.
        chains: those that are going to run.
        n_values: points of all steps whose energies are differentiated in the parameters alone, ≥ 0.
    """

    steps: int
    n_rows: int
    directions: int | None
    chains: tuple[ChainWork, ...] = ()
    n_values: float = 0

    @property
    def kernels(self) -> list[Kernel]:
        """The transitions of the chains."""
        return [work.kernel for work in self.chains]


def is_worth_compiling(work: Work, n_parameters: int, device: str, onednn_is_faster: bool) -> bool:
    """True if `auto` compiles.

    Args:
        work: the derivatives of the run.
        n_parameters: of the energy.
        device: cpu, cuda or mps.
        onednn_is_faster: whether large products are oneDNN's on this machine.
    """
    if work.directions is None:
        return False
    if device == "cuda":
        return work.steps >= WORTH_AFTER_ON_GPU
    size = 0.0 if onednn_is_faster else work.directions * work.n_rows * n_parameters / LARGE_STEP
    return device == "cpu" and work.directions > 0 and work.steps * (1 + size) >= WORTH_AFTER


def is_worth_native_code(chains: Iterable[ChainWork], n_parameters: int) -> bool:
    """True if `auto` builds native code for the chains, where there is a compiler.

    Args:
        chains: those that native code covers.
        n_parameters: of the energy.
    """
    saved = sum(work.n_gradients * (1 + work.n_chains * n_parameters / LARGE_GRADIENT) for work in chains)
    return saved >= NATIVE_AFTER


def is_worth_native_values(work: Work, n_parameters: int) -> bool:
    """True if `auto` builds native code for the energies of training steps, where there is a compiler."""
    return work.n_values * n_parameters >= VALUES_AFTER


def apply_compile_mode(
    mode: CompileMode,
    energy: object,
    work: Work,
    threads: int,
    warn: Callable[[str], None],
    is_resumed: bool = False,
) -> CompileMode:
    """Make an energy run in this mode, whatever mode it ran in before: sets `compiled`, `native`, `native_values`.

    Args:
        mode: the requested mode.
        energy: anything but an `Energy` runs eager.
        work: the derivatives of the run.
        threads: of native code, ≥ 1.
        warn: is given one line where the requested mode is not available, and where `auto` chooses native code.
        is_resumed: whether a run continues that was in this mode.

    Returns:
        The resolved mode, never auto.
    """
    if isinstance(energy, Energy):
        energy.compiled = energy.native = energy.native_values = None
    chosen = _automatic(energy, work) if mode == "auto" else mode
    if chosen == "never":
        return "never"
    if not isinstance(energy, Energy):
        why: str | None = "the energy is conditioned on given rows, which runs eager only"
    elif chosen == "native":
        # The library may lie in a cache: that must not decide what a new run computes.
        why = missing_compiler() if mode == "auto" else None
        why = why or attach_native_code(energy, threads, work.kernels, has_values=work.n_values > 0)
    else:
        why = _compile(energy, work, lambda line: warn(f"compile={mode}: {line}"))
    native = "training steps and chains" if work.n_values else "chains"
    if why is None:
        if mode == "auto" and chosen == "native":
            warn(f"compile=auto: {native} run in native code (C++); compile=never keeps them in torch")
        return chosen
    if mode != "auto":
        lost = "; from here on the run differs in rounding from one that was not interrupted" if is_resumed else ""
        warn(f"compile={mode}: {why}; running eager{lost}")
    elif chosen == "native":
        warn(f"compile=auto: {why}; {native} stay in torch, slower")
    return "never"


def _automatic(energy: object, work: Work) -> CompileMode:
    """The mode that the work is worth."""
    if not isinstance(energy, Energy):
        return "never"
    n_parameters = sum(p.numel() for p in energy.parameters())
    if is_worth_compiling(work, n_parameters, _like(energy).device.type, matmul.ONEDNN_IS_FASTER):
        return "always"
    covered = [chains for chains in work.chains if covers(chains.kernel, energy)]
    of_values = covers_values(energy) and is_worth_native_values(work, n_parameters)
    return "native" if of_values or is_worth_native_code(covered, n_parameters) else "never"


def _compile(energy: Energy, work: Work, warn: Callable[[str], None]) -> str | None:
    """Set `energy.compiled`, or return why compiling is impossible or useless."""
    like = _like(energy)
    device = like.device
    if work.directions is None:
        return "this method takes no derivative in x, and compiling the energy alone saves no time"
    if work.directions == 0 and device.type == "cpu":
        return "on a CPU gradients alone are no faster compiled; compile=native is for them"
    if not supports(energy):
        return f"{type(energy).__name__} has layers without a derivative rule"
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if device.type == "cuda" and find_spec("triton") is None:
        return "Triton is not installed"
    if device.type != "cuda" and shutil.which(compiler) is None:
        return f"no C++ compiler ({compiler}) is installed"
    energy.compiled = Compiled(work.n_rows, like.dtype, device, warn)
    return None


def _like(energy: Energy) -> Tensor:
    """A tensor with the energy's device and dtype; an energy that is composed of trained ones has no parameters."""
    return next(t for t in (*energy.parameters(), *energy.buffers(), torch.zeros(())) if t.is_floating_point())
