"""The exact trace of the Hessian costs O(D); projections do not.

One training step of score matching, loss and its gradient in the weights, on the same network by three ways to get
tr ∇²f:

    loop        D backward passes, one for each diagonal element: what exact score matching costs with autograd alone
    forward     the forward Laplacian of `method=sm`, D + 2 forward passes, at most as many as the first layer is wide
    sliced      one random direction of `method=ssm`, whatever D is

Time is that of the processor on one thread, the least of several steps; memory is the peak of the process above what
it had before the step.
"""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import process_time
from typing import TYPE_CHECKING, Any, ClassVar, final

import torch
from torch import Tensor

from ebm_cli.claims import Verdict
from ebm_cli.derivatives import exact_terms, sliced_terms
from ebm_cli.energies import MLP, Energy
from ebm_cli.lecture.base import Measurement, Outcome, slope, verdict_bound, verdict_within
from ebm_cli.methods.ssm import DRAW
from ebm_cli.reporting.figures.chart import label_plainly, points, style_axes
from ebm_cli.rng import generator
from ebm_cli.runs.record import Record
from ebm_cli.system.memory import peak_memory_bytes, release_freed_memory, reset_peak_memory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    Loss = Callable[[Energy, Tensor, torch.Generator], Tensor]

CPU = torch.device("cpu")
LINEAR, FLAT, EQUAL = 0.3, 0.3, 1e-4
"""Accepted distance of the loop's slope in D from 1; largest slope of the sliced step; relative difference of the exact
losses."""
GAIN = {"sliced": 10, "forward Laplacian": 2}
"""Least factor between the loop and the others in the largest D."""
SECONDS, MEMORY = "CPU seconds", "memory, MiB"


def loop_loss(energy: Energy, x: Tensor, rng: torch.Generator) -> Tensor:
    """Mean of ½‖∇f‖² − tr ∇²f over points [B, D], the trace by D backward passes of autograd."""
    x = x.detach().requires_grad_(True)
    (grad,) = torch.autograd.grad(energy(x).sum(), x, create_graph=True)
    trace = torch.zeros(len(x), dtype=x.dtype)
    for i in range(x.shape[1]):
        trace = trace + torch.autograd.grad(grad[:, i].sum(), x, create_graph=True)[0][:, i]
    return (0.5 * grad.square().sum(1) - trace).mean()


def forward_loss(energy: Energy, x: Tensor, rng: torch.Generator) -> Tensor:
    """The same by the forward Laplacian."""
    return exact_terms(energy, x).objective


def sliced_loss(energy: Energy, x: Tensor, rng: torch.Generator) -> Tensor:
    """An unbiased estimate of the same along one random direction."""
    return sliced_terms(energy, x, DRAW["rademacher"]((1, *x.shape), x, rng), exact_square=True).objective


WAYS: dict[str, "Loss"] = {"loop of autograd": loop_loss, "forward Laplacian": forward_loss, "sliced": sliced_loss}


@final
@dataclass(frozen=True)
class HessianTrace(Measurement):
    """Time and memory of one step against the dimension.

    Args:
        dims: D ≥ 2, ascending.
        fit_from: smallest dimension of the fitted slopes.
        width: of the two hidden layers of the network.
        batch_size: rows of a step.
        repeats: steps, of which the fastest counts.
        seed: of network and rows.
    """

    claim: ClassVar[str] = "the exact trace of the Hessian costs O(D), random projections do not"

    dims: list[int]
    fit_from: int
    width: int
    batch_size: int
    repeats: int
    seed: int

    def __post_init__(self) -> None:
        if sum(dim >= self.fit_from for dim in self.dims) < 2:
            raise ValueError(f"fit_from must leave two of dims = {self.dims}, got {self.fit_from}")

    def measure(self, runs: Sequence[Record]) -> Outcome:
        rows = [self._row(name, loss, dim) for dim in self.dims for name, loss in WAYS.items()]
        loop, forward, sliced = ([row for row in rows if row["trace by"] == name] for name in WAYS)
        verdicts: list[tuple[str, Verdict]] = []
        for key in (SECONDS, MEMORY):
            found = self._slope(loop, key)
            verdicts.append(("the exact trace costs O(D)", verdict_within(f"loop, {key}, slope", found, 1, LINEAR)))
        found = self._slope(sliced, SECONDS)
        verdicts.append(("projections do not", verdict_bound(f"sliced, {SECONDS}, slope", found, at_most=FLAT)))
        last = f"in {self.dims[-1]} dimensions"
        for name, other in (("sliced", sliced), ("forward Laplacian", forward)):
            for key in (SECONDS, MEMORY):
                ratio, about = loop[-1][key] / other[-1][key], f"{key} of the loop over {name} {last}"
                verdicts.append((f"{name} costs less", verdict_bound(about, ratio, at_least=GAIN[name])))
        gap = max(abs(a["loss"] - b["loss"]) / abs(a["loss"]) for a, b in zip(loop, forward, strict=True))
        verdicts.append(
            ("both exact losses are equal", verdict_bound("largest relative difference", gap, at_most=EQUAL))
        )
        return Outcome(rows, verdicts)

    def _slope(self, rows: Sequence[dict[str, Any]], key: str) -> float:
        far = [row for row in rows if row["dimension"] >= self.fit_from]
        return slope([row["dimension"] for row in far], [row[key] for row in far])

    def _row(self, name: str, loss: "Loss", dim: int) -> dict[str, Any]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            energy = MLP((dim,), width=self.width)
        x = torch.randn(self.batch_size, dim, generator=generator(self.seed, f"lecture/rows/{dim}", CPU))
        parameters = [*energy.parameters()]
        best, peak, value = float("inf"), 0.0, 0.0
        for _ in range(self.repeats):
            gc.collect()
            release_freed_memory()
            reset_peak_memory(CPU)
            before = peak_memory_bytes(CPU)
            rng = generator(self.seed, "lecture/directions", CPU)
            began = process_time()
            found = loss(energy, x, rng)
            torch.autograd.grad(found, parameters, allow_unused=True)
            best = min(best, process_time() - began)
            peak = max(peak, (peak_memory_bytes(CPU) - before) / 2**20)
            value = float(found.detach())
        # The resolution of the system's numbers is a page.
        return {"trace by": name, "dimension": dim, SECONDS: best, MEMORY: max(peak, 1 / 256), "loss": value}

    def draw(self, figure: "Figure", outcome: Outcome) -> None:
        ax = figure.subplots()
        ax.set_xscale("log")
        ax.set_yscale("log")
        for number, name in enumerate(WAYS):
            rows = [row for row in outcome.rows if row["trace by"] == name]
            dims, values = ([float(row[key] or 0) for row in rows] for key in ("dimension", SECONDS))
            points(ax, number, dims, [1e3 * value for value in values], name)
        label_plainly(ax, x=[float(dim) for dim in self.dims])
        title = "The exact trace costs O(D) by autograd;\na random projection hardly costs more with D"
        style_axes(ax, title, "dimension D", "CPU time of one step, ms")
