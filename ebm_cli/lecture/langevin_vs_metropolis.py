"""Gradients make better proposals: the cost of an independent sample grows as d^⅓ with them, and as d without.

Random-walk Metropolis takes steps of O(d^−½) and so needs O(d) of them to forget its start; MALA needs O(d^⅓). Each is
tuned to its optimal acceptance rate, 0.234 and 0.574. The target is N(0, I), a product density as in the theorems, and
the effective sample size is that of the mean of a coordinate, averaged over the coordinates.

The theorems are about the speed of a diffusion that the chains tend to, the rate r at which correlations decay, per
step. With n/ESS = (2 − r)/r, as for an autoregression, r = 2/(1 + n/ESS): the slopes are fitted to this rate, from
`fit_from` on, because ESS/n itself is steeper in d while chains still forget within a few steps.

Sources: Roberts, Gelman & Gilks (1997), Ann. Appl. Probab. 7(1); Roberts & Rosenthal (1998), JRSS B 60(1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import process_time
from typing import TYPE_CHECKING, Any, ClassVar, final

import torch

from ebm_cli.claims import Verdict
from ebm_cli.energies import Quadratic
from ebm_cli.evaluation.mcmc_diagnostics import ess_mean
from ebm_cli.lecture.base import Measurement, Outcome, slope, verdict_bound, verdict_within
from ebm_cli.reporting.figures.chart import COLOURS, label_plainly, points, style_axes, theory
from ebm_cli.rng import generator
from ebm_cli.runs.record import Record
from ebm_cli.samplers import MALA, Kernel, Metropolis, adapt, trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KERNELS: dict[str, tuple[Kernel, float]] = {"MALA": (MALA(step_size=0.5), -1 / 3), "Metropolis": (Metropolis(), -1.0)}
"""Name → kernel, and the exponent of d in the rate at which its chains forget."""
SLOPE, ACCEPTANCE = 0.1, 0.03
"""Accepted distance of a slope from theory's, and of an acceptance rate from the optimum."""
ADVANTAGE = 3
"""Effective samples of MALA in the largest dimension, over those of Metropolis, that are expected at least."""
ADAPTATION = 400
"""Steps in which the step size is adapted."""
RATE, PER_MILLION, PER_SECOND = "rate of forgetting, 1/step", "ESS per million evaluations", "ESS per CPU second"


@final
@dataclass(frozen=True)
class LangevinVsMetropolis(Measurement):
    """Effective samples per evaluation and per second of MALA and random-walk Metropolis, against the dimension.

    A step of MALA counts as two evaluations, of the energy and of its gradient; one of Metropolis as one.

    Args:
        dims: dimensions d ≥ 2, ascending.
        fit_from: smallest dimension of the fitted slopes.
        n_steps: of each chain.
        n_chains: ≥ 2.
        seed: of the chains.
    """

    claim: ClassVar[str] = "gradients make better proposals: Langevin steps lose d^(1/3) in d dimensions, random ones d"

    dims: list[int]
    fit_from: int
    n_steps: int
    n_chains: int
    seed: int

    def __post_init__(self) -> None:
        if sum(dim >= self.fit_from for dim in self.dims) < 2:
            raise ValueError(f"fit_from must leave two of dims = {self.dims}, got {self.fit_from}")

    def measure(self, runs: Sequence[Record]) -> Outcome:
        rows = [self._row(name, kernel, dim) for dim in self.dims for name, (kernel, _) in KERNELS.items()]
        verdicts: list[tuple[str, Verdict]] = []
        for name, (kernel, exponent) in KERNELS.items():
            own = [row for row in rows if row["sampler"] == name]
            target = kernel.target_accept or 0.0
            worst = max((row["acceptance"] for row in own), key=lambda rate: abs(rate - target))
            verdicts.append(("optimal acceptance", verdict_within(f"{name}, worst rate", worst, target, ACCEPTANCE)))
            far = [row for row in own if row["dimension"] >= self.fit_from]
            found = slope([row["dimension"] for row in far], [row[RATE] for row in far])
            verdicts.append(
                ("slopes of theory", verdict_within(f"{name}, slope of the rate in d", found, exponent, SLOPE))
            )
        first, last = (next(row for row in reversed(rows) if row["sampler"] == name) for name in KERNELS)
        for key in (PER_MILLION, PER_SECOND):
            ratio = first[key] / last[key]
            about = f"MALA over Metropolis in {self.dims[-1]} dimensions, {key}"
            verdicts.append(("gradients help", verdict_bound(about, ratio, at_least=ADVANTAGE)))
        return Outcome(rows, verdicts)

    def _row(self, name: str, kernel: Kernel, dim: int) -> dict[str, Any]:
        rng = generator(self.seed, f"lecture/{name}/{dim}", torch.device("cpu"))
        energy = Quadratic((dim,)).requires_grad_(False)
        x = torch.randn(self.n_chains, dim, generator=rng)
        kernel, state = adapt(kernel, energy, x, ADAPTATION, rng)
        # A fraction of the steps in which Metropolis forgets: what thinning loses is less than a percent.
        thin = max(1, dim // 8) if name == "Metropolis" else 1
        began = process_time()
        n_steps = self.n_steps - self.n_steps % thin
        draws, info = trace(kernel, energy, state.x, n_steps, thin, rng)
        seconds = process_time() - began
        ess = float(ess_mean(draws).mean())
        cost = kernel.evaluations(n_steps)
        n_evaluations = self.n_chains * (cost.energy + 2 * cost.grad)
        return {
            "sampler": name,
            "dimension": dim,
            "step size": kernel.step_size,
            "acceptance": float(info.accept.mean()),
            "ESS": ess,
            RATE: 2 / (1 + self.n_chains * n_steps / ess),
            PER_MILLION: ess / n_evaluations * 1e6,
            PER_SECOND: ess / seconds,
        }

    def draw(self, figure: "Figure", outcome: Outcome) -> None:
        ax = figure.subplots()
        ax.set_xscale("log")
        ax.set_yscale("log")
        for number, (name, (_, exponent)) in enumerate(KERNELS.items()):
            rows = [row for row in outcome.rows if row["sampler"] == name]
            dims, values = ([float(row[key] or 0) for row in rows] for key in ("dimension", PER_MILLION))
            points(ax, number, dims, values, name)
            curve = [values[-1] * (dim / dims[-1]) ** exponent for dim in dims]
            power = "d^{-1/3}" if number == 0 else "d^{-1}"
            theory(ax, dims, curve, f"theory for large d: ${power}$", color=COLOURS[number], alpha=0.8)
        label_plainly(ax, x=[float(dim) for dim in self.dims])
        title = "Gradients make better proposals:\nthe more so, the higher the dimension"
        style_axes(ax, title, "dimension d", "effective samples per million evaluations")
