"""In NCE the noise is fixed and the density is in the classifier; FCE lets the noise play, which makes it a game.

Both train a classifier D = sigmoid(log p_θ − log q) of data p and noise q on the value function of a GAN,

    V(D, q) = E_p log D + E_q log(1 − D).

For a given q it is largest at D* = p/(p + q), where it is V* = 2 JSD(p, q) − 2 log 2 (Goodfellow et al., 2014). A
fixed noise leaves V at this V*; a flow that lowers V brings it to −2 log 2, where it is the data. `train/loss` is −V at
ν = 1. FCE's flow has every other turn while the accuracy of the classifier is above `threshold`; that of the best is
(1 + TV(p, q))/2, and JSD ≤ log 2 · TV (Lin, 1991), so that a flow that keeps up brings V + 2 log 2 below
2 log 2 · (2 threshold − 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from statistics import fmean
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor
from torch.nn import functional as F

from ebm_cli.claims import Verdict
from ebm_cli.lecture.base import Measurement, Outcome, verdict_bound, verdict_within
from ebm_cli.lecture.run_numbers import curve
from ebm_cli.reporting.figures.chart import COLOURS, INK, style_axes, theory
from ebm_cli.runs.model import Model, load
from ebm_cli.runs.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EQUILIBRIUM = -2 * log(2)
"""V where the noise is the data, nats."""
REACH, CELLS, BLOCK = 5.0, 400, 20_000
"""The grid: [−REACH, REACH]² in standardised units, CELLS² midpoints, of which BLOCK at a time are evaluated."""
MASS = 0.01
"""Largest part of data or noise that may lie outside of the grid."""
SHOWN = 25
"""Means of V along training that are drawn."""
DISTANCE, SHORT = "mean |D − D*|", "V* of its noise, nats"
BY_GRID, LOGGED, END = "V by the grid, nats", "V of the last tenth, nats", "V above −2 log 2, nats"


class Classifiers(NamedTuple):
    """On the grid [CELLS²]: log p and log q, each without the mass of a cell, and the log-odds of the trained D."""

    log_p: Tensor
    log_q: Tensor
    h: Tensor

    def value(self, h: Tensor) -> float:
        """V of the classifier with log-odds h [CELLS²], nats."""
        area = (2 * REACH / CELLS) ** 2
        return -float((self.log_p.exp() * F.softplus(-h) + self.log_q.exp() * F.softplus(h)).sum() * area)

    def distance(self) -> float:
        """E_p |D − D*|."""
        gap = (torch.sigmoid(self.h) - torch.sigmoid(self.log_p - self.log_q)).abs()
        return float((self.log_p.exp() * gap).sum() / self.log_p.exp().sum())


@final
@dataclass(frozen=True)
class ValueFunction(Measurement):
    """V along training, and D against D* at its end, of one run of nce and one of fce on a plane density.

    Args:
        distance: accepted E_p |D − D*| of nce, > 0.
        value: accepted distance of V from V* of nce's noise, nats, > 0.
    """

    claim: ClassVar[str] = (
        "in NCE the noise is fixed and the classifier holds the density; in FCE the noise plays against the classifier"
    )
    trains: ClassVar[bool] = True

    distance: float
    value: float

    def measure(self, runs: Sequence[Record]) -> Outcome:
        rows: list[dict[str, Any]] = []
        verdicts: list[tuple[str, Verdict]] = []
        drawn: dict[str, Any] = {}
        for run in runs:
            name, along = str(run.get("method")), values(run)
            found = classifiers(load(run.path))
            end = fmean(value for _, value in along[-max(1, len(along) // 10) :])
            best, trained = found.value(found.log_p - found.log_q), found.value(found.h)
            row: dict[str, Any] = {"method": name, SHORT: best, BY_GRID: trained, LOGGED: end, END: end - EQUILIBRIUM}
            rows.append(row | {DISTANCE: found.distance()})
            drawn[name] = (along, best, found)
            verdicts.append(("D* is the best", verdict_bound(f"{name}: V − V*, nats,", trained - best, at_most=1e-6)))
            if name == "fce":
                limit = -EQUILIBRIUM * (2 * float(run.get("method.threshold")) - 1)
                verdicts.append(("the noise plays", verdict_bound("fce: V + 2 log 2, nats,", row[END], at_most=limit)))
            else:
                near = verdict_bound(f"{name}: {DISTANCE}", found.distance(), at_most=self.distance)
                verdicts.append(("D is p/(p + q)", near))
                about = f"{name}: V along the last tenth of training, nats,"
                verdicts.append(("V is 2 JSD − 2 log 2", verdict_within(about, end, best, self.value)))
        best_of = {row["method"]: row[SHORT] for row in rows}
        if {"nce", "fce"} <= best_of.keys():
            closer = verdict_bound("V* of fce's noise, nats,", best_of["fce"], at_most=best_of["nce"])
            verdicts.append(("a noise that plays is closer to the data", closer))
        return Outcome(rows, verdicts, drawn)

    def draw(self, figure: "Figure", outcome: Outcome) -> None:
        figure.set_size_inches(5.2, 5.4)
        axes = figure.subplot_mosaic([["V", "V", "V"], ["star", "nce", "fce"]], height_ratios=[1.5, 1])
        top = axes["V"]
        for number, (name, (along, _, _)) in enumerate(outcome.drawn.items()):
            size = max(1, len(along) // SHOWN)
            blocks = [along[i : i + size] for i in range(0, len(along), size)]
            x = [fmean(step for step, _ in block) / 1000 for block in blocks]
            y = [fmean(value for _, value in block) for block in blocks]
            top.plot(x, y, color=COLOURS[number], linewidth=1.8, label=name)
        longest = max(step for along, _, _ in outcome.drawn.values() for step, _ in along) / 1000
        if "nce" in outcome.drawn:
            theory(top, [0, longest], [outcome.drawn["nce"][1]] * 2, "2 JSD(p, q) − 2 log 2")
        theory(top, [0, longest], [EQUILIBRIUM] * 2, "−2 log 2: noise is data", linestyle=":")
        title = "A fixed noise leaves the classifier its game;\na noise that plays takes it away"
        style_axes(top, title, "training step, thousands", "value V, nats")
        top.legend(fontsize=8.5, frameon=False, labelcolor=INK, ncols=2)
        for place, (name, which) in {"star": ("nce", "D*"), "nce": ("nce", "D"), "fce": ("fce", "D")}.items():
            if name not in outcome.drawn:
                axes[place].set_axis_off()
                continue
            found = outcome.drawn[name][2]
            h = found.log_p - found.log_q if which == "D*" else found.h
            shade = torch.sigmoid(h).view(CELLS, CELLS).T.numpy()
            bounds = (-REACH, REACH, -REACH, REACH)
            image = axes[place].imshow(shade, extent=bounds, origin="lower", vmin=0, vmax=1, cmap="cividis")
            heading = "nce: p/(p + q)" if which == "D*" else f"{name}: learned D"
            axes[place].set_title(heading, fontsize=10, color=INK)
            axes[place].set(xticks=[], yticks=[], xlim=(-2.5, 2.5), ylim=(-2.5, 2.5))
        bar = figure.colorbar(
            image, ax=[axes[place] for place in ("star", "nce", "fce")], shrink=0.8, ticks=[0, 0.5, 1]
        )
        bar.set_label("probability\nof data", fontsize=9, color=INK)
        bar.ax.tick_params(labelsize=9, colors=INK)


def values(run: Record) -> list[tuple[float, float]]:
    """(step, V) along training: −loss of the energy, and the loss of fce's flow in the turns of the flow."""
    energy = [(step, -loss) for step, loss in curve(run, "train/loss")]
    flow = [(step, loss) for step, loss in curve(run, "train/loss_flow")]
    return sorted(energy + flow)


def classifiers(model: Model) -> Classifiers:
    """Data, noise and classifier of a trained model of points in the plane, on the grid of standardised units.

    Raises:
        ValueError: the data have no known density in the plane, the method no noise, or the grid leaves mass out.
    """
    built = model.parts()
    dataset, energy, method = built.dataset, built.energy, built.method
    noise, log_z = method.proposal(), method.learned_log_z(energy)
    if dataset.density is None or tuple(dataset.shape) != (2,) or noise is None or log_z is None:
        raise ValueError("a value function is measured for nce or fce on data with a known density in the plane")
    axis = (torch.arange(CELLS) + 0.5) * (2 * REACH / CELLS) - REACH
    u = torch.cartesian_prod(axis, axis).to(dataset.standardizer.like)
    blocks: list[tuple[Tensor, Tensor, Tensor]] = []
    with torch.no_grad():
        for block in u.split(BLOCK):
            log_p = dataset.density.log_prob(dataset.standardizer.inverse(block)) + dataset.standardizer.log_det
            log_q = noise.log_prob(block)
            blocks.append((log_p.double(), log_q.double(), (-energy(block) - log_z - log_q).double()))
    found = Classifiers(*(torch.cat(part) for part in zip(*blocks, strict=True)))
    for name, log_density in (("data", found.log_p), ("noise", found.log_q)):
        mass = float(log_density.exp().sum()) * (2 * REACH / CELLS) ** 2
        if abs(mass - 1) > MASS:
            raise ValueError(f"the grid [-{REACH:g}, {REACH:g}]² holds {mass:.3f} of the {name}, not 1")
    return found
