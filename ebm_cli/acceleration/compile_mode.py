"""What `compile=` means: how the derivatives and the chains of an energy are run.

    never    eager torch
    always   compiled: what a step differentiates in x, on a GPU its chains too (see `derivatives.compiled`)
    native   eager torch, and chains in native code (see `native`)
    auto     always where the run is long enough to pay for it, else never: a fixed rule, no timing

What it came to is stored in the checkpoint, and a run that goes on does so in the same way: compiled code rounds
differently.
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

from ebm_cli.acceleration import attach_native_chains
from ebm_cli.derivatives import Compiled, matmul, supports
from ebm_cli.energies import Energy
from ebm_cli.samplers import Kernel

CompileMode = Literal["auto", "always", "never", "native"]

PAYS_AFTER = 100_000
"""Steps of a small network on a CPU that save more than compiling costs, 0.35 ms each against 25 s."""
LARGE = 4e7
"""Directions × points × parameters of a step that saves twice as much, where what is compiled runs from cache; oneDNN's
products, where they are taken, leave nothing of that (docs/adr/0019)."""
PAYS_AFTER_ON_GPU = 5_000
"""There a step is mostly launches, and a graph is one."""


@dataclass(frozen=True)
class Work:
    """What is going to be differentiated in x, and how often.

    Args:
        steps: how often, ≥ 0.
        n_rows: points at a time, ≥ 1.
        directions: of the second derivatives, ≥ 0; None where no derivative in x is taken.
        kernels: the chains that are going to run.
    """

    steps: int
    n_rows: int
    directions: int | None
    kernels: Iterable[Kernel] = ()


def is_worth_compiling(work: Work, n_parameters: int, device: str) -> bool:
    """Whether `auto` compiles."""
    if work.directions is None:
        return False
    if device == "cuda":
        return work.steps >= PAYS_AFTER_ON_GPU
    share = 0.0 if matmul.ONEDNN_IS_FASTER else work.directions * work.n_rows * n_parameters / LARGE
    return device == "cpu" and work.directions > 0 and work.steps * (1 + share) >= PAYS_AFTER


def apply_compile_mode(
    word: CompileMode, energy: object, work: Work, threads: int, tell: Callable[[str], None]
) -> CompileMode:
    """Have an energy run as the word says; `energy.compiled` or `energy.native` is set.

    Args:
        word: as it was asked for.
        energy: what is going to run; only an `Energy` can run otherwise than eager.
        work: what it is going to do.
        threads: of native chains, ≥ 1.
        tell: is given one line where what was asked for cannot be had; `auto` asked for nothing.

    Returns:
        What it came to: never auto.
    """
    if word == "never" or (word == "auto" and not (isinstance(energy, Energy) and _is_worth_compiling(work, energy))):
        return "never"
    if not isinstance(energy, Energy):
        why: str | None = "it needs the energy as it is, not under given rows"
    elif word == "native":
        why = attach_native_chains(energy, threads, work.kernels)
    else:
        why = _compile(energy, work, lambda line: tell(f"compile={word}: {line}"))
    if why is None:
        return "native" if word == "native" else "always"
    if word != "auto":
        tell(f"compile={word}: {why}; running eager")
    return "never"


def _compile(energy: Energy, work: Work, tell: Callable[[str], None]) -> str | None:
    """Have the energy compiled, or say why there is nothing to compile, or nothing to compile with."""
    like = _like(energy)
    device = like.device
    if work.directions is None:
        return "this method takes no derivative in x, and for the energy alone compiled code is no faster"
    if work.directions == 0 and device.type == "cpu":
        return "on a CPU gradients alone are no faster compiled; chains are by compile=native"
    if not supports(energy):
        return f"{type(energy).__name__} has layers without a derivative rule"
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if device.type == "cuda" and find_spec("triton") is None:
        return "there is no triton"
    if device.type != "cuda" and shutil.which(compiler) is None:
        return f"there is no C++ compiler ({compiler})"
    energy.compiled = Compiled(work.n_rows, like.dtype, device, tell)
    return None


def _is_worth_compiling(work: Work, energy: Energy) -> bool:
    return is_worth_compiling(work, sum(p.numel() for p in energy.parameters()), _like(energy).device.type)


def _like(energy: Energy) -> Tensor:
    """A tensor of the energy's device and dtype; what is made of trained energies has no parameters."""
    return next(t for t in (*energy.parameters(), *energy.buffers(), torch.zeros(())) if t.is_floating_point())
