"""A model of a training step on many GPUs: arithmetic, what does not shrink, and one message that averages gradients.

    T(p, b) = W(b) + S + M(p)

b rows on each of p GPUs; W the arithmetic of the loss, S the pass of the optimizer over the parameters, M the message,
which nothing overlaps with here. Everything is reckoned from the numbers of `Machine`; nothing is measured.
"""

import math
from dataclasses import dataclass

BYTES = 4
"""Size of a float32 number."""


@dataclass(frozen=True)
class Machine:
    """Assumptions about the GPUs.

    Args:
        flops: products and sums a second that a step reaches: 40 % (assumed) of 494.7·10¹², the dense TF32 peak of an
            H100 SXM by its data sheet.
        memory: bytes a second of its memory, by its data sheet.
        wire: bytes a second that a GPU sends while it receives: 80 % (assumed) of a port of 400 Gb/s for each.
        latency: seconds before the first byte of a message arrives (assumed).
    """

    flops: float = 0.4 * 494.7e12
    memory: float = 3.35e12
    wire: float = 0.8 * 50e9
    latency: float = 5e-6


@dataclass(frozen=True)
class Method:
    """The work of a step for each row, in sweeps through the network (2 operations a parameter and row each).

    Args:
        trained: energies, or tangents, that are differentiated in the parameters: three sweeps each.
        moved: gradients in x one after the other, that are not: two sweeps each.
        again: sweeps for each of `trained` that are computed a second time to save memory.
        networks: of that size that a step trains, a gradient to be averaged for each.
    """

    trained: float
    moved: int = 0
    again: int = 0
    networks: int = 1

    @property
    def sweeps(self) -> float:
        """Sweeps of a row."""
        return (3 + self.again) * self.trained + 2 * self.moved

    @property
    def in_turn(self) -> int:
        """Sweeps that wait for one another, however few the rows: each reads all the weights."""
        return (3 + self.again) * (self.trained > 0) + 2 * self.moved


def methods(dim: int, k: int = 5, n_perturbations: int = 4, n_projections: int = 2) -> dict[str, Method]:
    """The methods with their default settings, on data of `dim` dimensions.

    sm carries a value, a Laplacian and `dim` tangents through the network, chunk by chunk, and computes them again in
    the backward pass; ssm a value, its gradient and one tangent a direction; the flow of fce is as large as the energy;
    cd takes a gradient at the start of a chain and one a step.
    """
    return {
        "nce": Method(2),
        "cnce": Method(2),
        "dsm": Method(2),
        "ssm": Method(2 + n_projections),
        "ed": Method(1 + n_perturbations),
        "fce": Method(4, networks=2),
        "cd": Method(2, moved=k + 1),
        "sm": Method(2 + dim, again=1),
    }


def ring(p: int, n_bytes: float, machine: Machine) -> float:
    """Seconds of an all-reduce around a ring: 2 (p − 1) messages of n/p bytes."""
    return 2 * (p - 1) * (machine.latency + n_bytes / p / machine.wire)


def tree(p: int, n_bytes: float, machine: Machine) -> float:
    """The same by recursive halving and doubling: 2 ⌈log₂ p⌉ messages, and as many bytes."""
    return 2 * (math.ceil(math.log2(p)) * machine.latency + (p - 1) / p * n_bytes / machine.wire)


def message(p: int, n_bytes: float, machine: Machine) -> float:
    """The faster one."""
    return min(ring(p, n_bytes, machine), tree(p, n_bytes, machine))


def work(method: Method, rows: float, n_parameters: float, machine: Machine) -> float:
    """Seconds of the arithmetic of `rows` rows on one GPU, at least those of reading the weights for every sweep."""
    arithmetic = method.sweeps * 2 * n_parameters * rows / machine.flops
    return max(arithmetic, method.in_turn * BYTES * n_parameters / machine.memory)


def update(method: Method, n_parameters: float, machine: Machine) -> float:
    """Seconds of clipping, Adam and the moving average: 15 numbers read or written for each parameter.

    Gradients are copied into one buffer (2), measured (1) and scaled (2); Adam reads 4 and writes 3, the average 2
    and 1.
    """
    return method.networks * 15 * BYTES * n_parameters / machine.memory


def step(method: Method, p: int, rows: float, n_parameters: float, machine: Machine) -> float:
    """Seconds of a step of p GPUs with `rows` rows each."""
    sent = message(p, method.networks * BYTES * n_parameters, machine) if p > 1 else 0.0
    return work(method, rows, n_parameters, machine) + update(method, n_parameters, machine) + sent


def computing(method: Method, p: int, rows: float, n_parameters: float, machine: Machine) -> float:
    """Share of the step that is arithmetic of the loss."""
    return work(method, rows, n_parameters, machine) / step(method, p, rows, n_parameters, machine)


def rows_for(share: float, method: Method, p: int, n_parameters: float, machine: Machine) -> float:
    """Rows on each GPU with which this share of the step is arithmetic, where that and not the memory decides.

    W/(W + S + M) = share, with W proportional to the rows.
    """
    rest = step(method, p, 0, n_parameters, machine) - work(method, 0, n_parameters, machine)
    return share / (1 - share) * rest * machine.flops / (2 * n_parameters * method.sweeps)


def annealing(n_temperatures: int, chains: float, n_parameters: float, machine: Machine) -> float:
    """Seconds of annealed importance sampling on one GPU: a gradient of all its chains at each temperature, in turn."""
    return n_temperatures * work(Method(0, moved=1), chains, n_parameters, machine) if chains else 0.0


def overlap(dim: int, scale: float) -> float:
    """Bound of the share of rows that noise could have drawn, for data N(0, I) and noise N(0, s² I).

    E_data[q/(p + q)] = ∫ pq/(p + q) ≤ ½ ∫ √(pq) = ½ (2s/(1 + s²))^{D/2}, since 2√(pq) ≤ p + q.
    """
    return 0.5 * (2 * scale / (1 + scale**2)) ** (dim / 2)


def tangent_bytes(dim: int, width: int, depth: int) -> float:
    """Bytes of a row in the graph of a Laplacian: value, Laplacian and `dim` tangents, before and after each σ."""
    return (2 + dim) * row_bytes(width, depth)


def row_bytes(width: int, depth: int) -> float:
    """Bytes of a row in the graph of an energy: the numbers before and after each σ."""
    return 2 * depth * width * BYTES
