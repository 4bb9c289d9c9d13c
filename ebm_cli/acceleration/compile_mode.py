"""The modes of `compile=`: eager torch, compiled derivatives, or chains in native code.

    never    eager torch
    always   compiled: the derivatives in x of a training step, on a GPU also its chains (`derivatives.compiled`)
    native   eager torch, and chains in native code (`native_chains`)
    auto     always where the run is long enough for compiling to pay, else never: a fixed rule, no timing

The resolved mode is stored in the checkpoint and used again on resume: compiled code rounds differently.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor

from ebm_cli.acceleration.native_chains import attach_native_chains
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


@dataclass(frozen=True)
class Work:
    """The derivatives in x that a run takes.

    Args:
        steps: training steps, ≥ 0.
        n_rows: points a step, ≥ 1.
        directions: of the second derivatives, ≥ 0; None where no derivative in x is taken.
        kernels: of the chains that are going to run.
    """

    steps: int
    n_rows: int
    directions: int | None
    kernels: Iterable[Kernel] = ()


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


def apply_compile_mode(
    mode: CompileMode, energy: object, work: Work, threads: int, warn: Callable[[str], None]
) -> CompileMode:
    """Make an energy run in this mode: sets `energy.compiled` or `energy.native`.

    Args:
        mode: the requested mode.
        energy: anything but an `Energy` runs eager.
        work: the derivatives of the run.
        threads: of native chains, ≥ 1.
        warn: is given one line where the requested mode is not available; `auto` requests none.

    Returns:
        The resolved mode, never auto.
    """
    if mode == "never" or (
        mode == "auto" and not (isinstance(energy, Energy) and _compiles_automatically(work, energy))
    ):
        return "never"
    if not isinstance(energy, Energy):
        why: str | None = "the energy is conditioned on given rows, which runs eager only"
    elif mode == "native":
        why = attach_native_chains(energy, threads, work.kernels)
    else:
        why = _compile(energy, work, lambda line: warn(f"compile={mode}: {line}"))
    if why is None:
        return "native" if mode == "native" else "always"
    if mode != "auto":
        warn(f"compile={mode}: {why}; running eager")
    return "never"


def _compile(energy: Energy, work: Work, warn: Callable[[str], None]) -> str | None:
    """Set `energy.compiled`, or return why compiling is impossible or useless."""
    like = _like(energy)
    device = like.device
    if work.directions is None:
        return "this method takes no derivative in x, and compiling the energy alone saves no time"
    if work.directions == 0 and device.type == "cpu":
        return "on a CPU gradients alone are no faster compiled; compile=native is for chains"
    if not supports(energy):
        return f"{type(energy).__name__} has layers without a derivative rule"
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if device.type == "cuda" and find_spec("triton") is None:
        return "Triton is not installed"
    if device.type != "cuda" and shutil.which(compiler) is None:
        return f"no C++ compiler ({compiler}) is installed"
    energy.compiled = Compiled(work.n_rows, like.dtype, device, warn)
    return None


def _compiles_automatically(work: Work, energy: Energy) -> bool:
    n_parameters = sum(p.numel() for p in energy.parameters())
    return is_worth_compiling(work, n_parameters, _like(energy).device.type, matmul.ONEDNN_IS_FASTER)


def _like(energy: Energy) -> Tensor:
    """A tensor with the energy's device and dtype; an energy that is composed of trained ones has no parameters."""
    return next(t for t in (*energy.parameters(), *energy.buffers(), torch.zeros(())) if t.is_floating_point())
