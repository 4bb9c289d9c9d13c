"""Curves of our cost against dimension, chains, batch, width and steps, with the exponent of a fitted power law.

All sizes of a curve are measured together, in shuffled rounds. An exponent below that of the arithmetic means that the
small sizes are mostly overhead.
"""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from ebm_cli.methods.base import Method
from ebm_cli.methods.sm import SM
from ebm_cli.methods.ssm import SSM
from ebm_cli.samplers import run
from ebm_cli.samplers.langevin import Langevin

from . import networks as nets
from .harness import Curve, Effort, Measurement, Row, Variant, measure_times
from .stats import slope

RANK = "exact score matching follows min(D, width) directions: beyond D = 128 its cost hardly grows"


def rows() -> list[Row]:
    return [
        _row("scaling-sm-dimension", "exact score matching", "D", (8, 16, 32, 64, 128, 256, 512), _sm, RANK),
        _row("scaling-ssm-dimension", "sliced score matching", "D", (8, 32, 128, 512, 2048), _ssm),
        _row("scaling-batch", "exact score matching, D = 10", "batch", (32, 128, 512, 2048), lambda n: _sm(10, n)),
        _row("scaling-width", "exact score matching, D = 10", "width", (32, 64, 128, 256), lambda n: _sm(10, 128, n)),
        _row("scaling-chains", "a Langevin step, 2-128-128-1", "chains", (16, 64, 256, 1024, 4096, 16384, 65536), _ula),
        _row("scaling-steps", "64 Langevin chains, 2-128-128-1", "steps", (10, 100, 1000), lambda n: _ula(64, n)),
    ]


def _row(
    name: str, title: str, x_name: str, sizes: Sequence[int], make: Callable[[int], Callable[[], Any]], note: str = ""
) -> Row:
    def measure(effort: Effort) -> Measurement:
        times = measure_times([Variant(str(size), make(size)) for size in sizes], effort)
        x, y = [float(size) for size in sizes], [1e3 * median(values) for values in times.values()]
        return Measurement(curves=[Curve("cost", x_name, "ms", x, y, slope(x, y))], notes=[note] if note else [])

    return Row(name, title, measure)


def _sm(size: int, batch: int = 128, width: int = 128) -> Callable[[], Any]:
    return _loss(SM(), size, batch, width)


def _ssm(size: int) -> Callable[[], Any]:
    return _loss(SSM("rademacher", 1), size, 128, 128)


def _loss(method: Method, size: int, batch: int, width: int) -> Callable[[], Any]:
    energy, x, rng = nets.mlp(size, width, 2, "softplus"), nets.points(batch, size), nets.generator(3)
    parameters = list(energy.parameters())

    def step() -> None:
        energy.zero_grad()
        method.loss(energy, x, rng).loss.backward(inputs=parameters)

    return step


def _ula(n_chains: int, n_steps: int = 1) -> Callable[[], Any]:
    energy, x, rng = nets.mlp(2, 128, 2, "silu"), nets.points(n_chains, 2), nets.generator(3)
    return lambda: run(Langevin(0.01), energy, x, n_steps, rng)
