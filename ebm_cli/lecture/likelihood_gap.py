"""The loss of the self-normalised objective of nce is the likelihood plus a known gap in its log Z.

    L(b) = E_data[f] + b + e^{−b} E_q[e^{−f}/q] − 1 = NLL + e^δ − 1 − δ,   δ = log Z − b

so that it is a bound of the negative log-likelihood for every b, and equal to it at b = log Z alone.

Source: Senetaire, Jeha, Mattei & Frellsen (2025), arXiv:2503.07021.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, ClassVar, final

import torch

from ebm_cli.claims import Verdict
from ebm_cli.densities import Gaussian
from ebm_cli.energies import Quadratic
from ebm_cli.lecture.base import Measurement, Outcome, verdict_within
from ebm_cli.methods import NCE
from ebm_cli.methods.noise_tails import has_light_tails
from ebm_cli.reporting.figures.chart import points, style_axes, theory
from ebm_cli.rng import generator
from ebm_cli.runs.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_BATCHES = 40
ERRORS = 5
"""Standard errors within which a gap agrees."""

DELTA, GAP, EXACT, ERROR = "log Z − b, nats", "gap, nats", "e^δ − 1 − δ", "standard error"


@final
@dataclass(frozen=True)
class LikelihoodGap(Measurement):
    """Loss of the self-normalised objective minus the negative log-likelihood, for values of its log Z.

    The model is a normal distribution in the plane, the noise a wider one.

    Args:
        deltas: δ = log Z − b, nats.
        widen: standard deviations of the noise over those of the data, > 1/√2: with less the weights have no variance.
        n_rows: rows of noise for each value, ≥ 400.
        seed: of rows and noise.
    """

    claim: ClassVar[str] = "the self-normalised loss of nce exceeds the negative log-likelihood by e^δ − 1 − δ"

    deltas: list[float]
    widen: float
    n_rows: int
    seed: int

    def measure(self, runs: Sequence[Record]) -> Outcome:
        rng = generator(self.seed, "lecture/likelihood gap", torch.device("cpu"))
        x = torch.randn(self.n_rows // N_BATCHES, 2, generator=rng, dtype=torch.float64)
        energy = Quadratic((2,)).double()
        log_z = energy.log_z()
        assert log_z is not None
        exact_log_z = float(log_z.detach())
        noise = Gaussian(x, widen=self.widen)
        nll = float(energy(x).mean().detach()) + exact_log_z
        rows: list[dict[str, Any]] = []
        verdicts: list[tuple[str, Verdict]] = []
        for delta in self.deltas:
            method = NCE(noise, objective="self_normalised", log_z=exact_log_z - delta).double()
            found = [float(method.loss(energy, x, rng).loss.detach()) - nll for _ in range(N_BATCHES)]
            gap, error, exact = fmean(found), stdev(found) / math.sqrt(N_BATCHES), math.expm1(delta) - delta
            rows.append({DELTA: delta, GAP: gap, EXACT: exact, ERROR: error})
            verdicts.append(("the gap", verdict_within(f"δ = {delta:g}: gap, nats,", gap, exact, ERRORS * error)))
        narrow = Gaussian(x, widen=0.6)
        for name, q, light in (("wider", noise, False), ("narrower", narrow, True)):
            told = has_light_tails(q, energy)
            word = "said" if told else "not said"
            verdicts.append(("light tails are told", Verdict(told is light, f"{name} noise: no variance, {word}")))
        return Outcome(rows, verdicts)

    def draw(self, figure: "Figure", outcome: Outcome) -> None:
        ax = figure.subplots()
        low, high = min(self.deltas), max(self.deltas)
        curve = [low + (high - low) * i / 200 for i in range(201)]
        theory(ax, curve, [math.expm1(delta) - delta for delta in curve], "e^δ − 1 − δ")
        delta, gap = ([float(row[key] or 0) for row in outcome.rows] for key in (DELTA, GAP))
        points(ax, 0, delta, gap, "loss − negative log-likelihood", linestyle="")
        title = "The self-normalised loss bounds the likelihood;\nit is equal at b = log Z"
        style_axes(ax, title, "δ = log Z − b, nats", "gap, nats")
