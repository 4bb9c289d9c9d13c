"""Rows of memory: the peak of a step beyond what was allocated before it, each in its own process.

`python -m tests.benchmarks.memory JOB ARGUMENT` is such a process; it prints megabytes.
"""

import ctypes
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor

from ebm_cli.derivatives import chunked_laplacian, directional, laplacian
from ebm_cli.samplers import run
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.system.memory import peak_memory_bytes, reset_peak_memory

from . import networks as nets
from .harness import OURS, Effort, Fact, Measurement, Row

BUDGET = 4 * 2**28 / 2**20
"""MiB that the graphs of a Laplacian may hold together (`graph` of `chunked_laplacian.Budget`, in float32)."""
WIDE = (784, 1024, 128)
"""D, width and batch of a Laplacian whose graph in one piece would exceed the budget."""
FLAT = 5.0
"""MiB by which a chain may grow from its 10,000th step to its last: the noise of the heap."""


def rows() -> list[Row]:
    return [
        Row("memory-sm-784", "exact score matching, D = 784: peak memory of a step", _step_of_784),
        Row("memory-laplacian", "Laplacian of 784-1024-1024-1, batch 128", _laplacian),
        Row("memory-steps", "16 Langevin chains, 2-16-16-1: growth with the number of steps", _growth),
    ]


def _step_of_784(effort: Effort) -> Measurement:
    from .score_matching import exact_steps

    facts = []
    for name in exact_steps(784)[0]:
        bound = 60.0 if name.startswith(OURS) else None
        facts.append(Fact(name, _in_a_process("sm", name), "MiB", bound))
    return Measurement(facts=facts)


def _laplacian(effort: Effort) -> Measurement:
    size, width, batch = WIDE
    energy, x = nets.mlp(size, width, 2, "softplus"), nets.points(batch, size)
    basis = torch.eye(size).view(size, 1, size)

    def curvature(x: Tensor, v: Tensor) -> Tensor:
        return directional(energy, x, v)[0].curvature

    each = chunked_laplacian.saved_numbers(curvature, x, basis, 2) - chunked_laplacian.saved_numbers(
        curvature, x, basis, 1
    )
    whole = each * batch * size * 4 / 2**20
    return Measurement(
        facts=[
            Fact("the graph in one piece would hold", whole, "MiB"),
            Fact("peak in blocks, with the backward pass", _in_a_process("laplacian", ""), "MiB", BUDGET),
        ]
    )


def _growth(effort: Effort) -> Measurement:
    most = 10**6 if effort.rounds > 20 else 10**5
    short, long = _in_a_process("chain", "10000"), _in_a_process("chain", str(most))
    return Measurement(
        facts=[
            Fact("peak of 10,000 steps", short, "MiB"),
            Fact(f"peak of {most:,} steps", long, "MiB"),
            Fact("growth", max(0.0, long - short), "MiB", FLAT),
        ]
    )


def _in_a_process(job: str, argument: str) -> float:
    words = [sys.executable, "-m", "tests.benchmarks.memory", job, argument]
    ran = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return float(ran.stdout.split()[-1])


# --- in the process ---------------------------------------------------------------------------------------------------


def peak_of(call: Callable[[], object]) -> float:
    """MiB that a call needs at its peak, beyond what is allocated when it begins."""
    with suppress(OSError, AttributeError):
        # Memory that the heap keeps from earlier calls would hide the need of this one.
        ctypes.CDLL(None).malloc_trim(0)
    cpu = torch.device("cpu")
    reset_peak_memory(cpu)
    before = peak_memory_bytes(cpu)
    call()
    return (peak_memory_bytes(cpu) - before) / 2**20


def _score_matching(name: str) -> float:
    from .score_matching import exact_steps

    step = exact_steps(784)[0][name]
    step()
    return peak_of(step)


def _blocks(_: str) -> float:
    size, width, batch = WIDE
    energy, x = nets.mlp(size, width, 2, "softplus"), nets.points(batch, size)
    laplacian(energy, x[:1])[1].sum().backward()
    return peak_of(lambda: laplacian(energy, x)[1].sum().backward())


def _chain(n_steps: str) -> float:
    energy, x, kernel = nets.mlp(2, 16, 2, "silu"), nets.points(16, 2), Langevin(0.01)
    run(kernel, energy, x, 100, nets.generator(1))
    return peak_of(lambda: run(kernel, energy, x, int(n_steps), nets.generator(1)))


JOBS = {"sm": _score_matching, "laplacian": _blocks, "chain": _chain}

if __name__ == "__main__":
    print(JOBS[sys.argv[1]](sys.argv[2]))
