"""The inner loop is what contrastive divergence costs: work and time until a model is near the data.

A run's KL is noted every `eval_every` steps, and the first of them at most `target` ends its count. Its work is that of
its steps so far,

    steps · rows per step · evaluations per row,

and its time is steps · seconds per step, the median of some steps of the same training on this machine: the seconds of
a whole run would include its evaluations. The time is that of the processor, which other programs hardly change.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median
from time import process_time
from typing import TYPE_CHECKING, Any, ClassVar, final

from omegaconf import OmegaConf

from ebm_cli.claims import Verdict
from ebm_cli.lecture.base import Measurement, Outcome, verdict_bound
from ebm_cli.lecture.run_numbers import by_setting, curve, mean_result
from ebm_cli.reporting.figures.chart import COLOURS, INK, label_plainly, style_axes
from ebm_cli.runs.assemble import assemble
from ebm_cli.runs.record import Record
from ebm_cli.system.threads import set_threads
from ebm_cli.training.build import make_trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SETTING, K, STEPS = "setting", "k", "steps to the target"
SECONDS, MILLISECONDS = "CPU seconds", "CPU ms a step"
ENERGIES, GRADIENTS, SECOND = "f", "∇f", "Δf"
WARM_UP, TIMED = 3, 15
"""Steps before the first that is timed, and steps that the median is over."""


@final
@dataclass(frozen=True)
class CostToLearn(Measurement):
    """Work and seconds until KL(data‖model) is at most `target`, for chains of k steps and for methods without chains.

    Args:
        target: KL, nats, > 0.
        series: group or key whose values are compared, such as pairing.
        names: its values → their names in the figure, in their order: of chains, k ascending.
        fewest: steps of each chain as a part of those of the next shorter one, at least, in (0, 1].
        long: k ≥ 1 from which chains must take more seconds than every method without a chain.
    """

    claim: ClassVar[str] = (
        "contrastive divergence pays for its inner loop: the longer the chains, the more it costs to learn"
    )
    trains: ClassVar[bool] = True

    target: float
    series: str
    names: dict[str, str]
    fewest: float
    long: int

    def __post_init__(self) -> None:
        if self.target <= 0:
            raise ValueError(f"target must be > 0, got {self.target}")
        if not 0 < self.fewest <= 1:
            raise ValueError(f"fewest must be in (0, 1], got {self.fewest}")
        if self.long < 1:
            raise ValueError(f"long must be >= 1, got {self.long}")

    def measure(self, runs: Sequence[Record]) -> Outcome:
        alike = by_setting(runs, self.series)
        rows = [self._row(name, alike[value,]) for value, name in self.names.items() if (value,) in alike]
        return Outcome(rows, [*self._verdicts(rows)])

    def _row(self, name: str, runs: Sequence[Record]) -> dict[str, Any]:
        """Means over the runs of a setting; None for what needs the target, if one of them did not reach it."""
        found = [first_step(run, self.target) for run in runs]
        steps = fmean(step for step in found if step is not None) if None not in found else None
        n_rows, each = runs[0].get("batch_size"), seconds_per_step(runs[0])
        row = {SETTING: name, K: runs[0].get("method.k"), "runs": len(runs), STEPS: steps, MILLISECONDS: 1e3 * each}
        a_step = {SECONDS: each}
        for key, kind in {ENERGIES: "energy", GRADIENTS: "grad", SECOND: "laplacian"}.items():
            a_step[key] = n_rows * mean_result(runs, f"cost/{kind}_evals")
        return row | {key: None if steps is None else steps * cost for key, cost in a_step.items()}

    def _verdicts(self, rows: Sequence[dict[str, Any]]) -> Iterator[tuple[str, Verdict]]:
        for row in rows:
            steps = "not" if row[STEPS] is None else f"{row[STEPS]:.4g} steps"
            what = f"{row[SETTING]}: {steps} to {self.target:g} nats"
            yield "every method learns", Verdict(row[STEPS] is not None, what)
        learned = [row for row in rows if row[STEPS] is not None]
        chains = [row for row in learned if row[K] is not None]
        for short, long in pairwise(chains):
            about = f"steps of {long[SETTING]} over those of {short[SETTING]}"
            found = verdict_bound(about, long[STEPS] / short[STEPS], at_least=self.fewest)
            yield "longer chains hardly save steps", found
        for row in (row for row in chains if row[K] >= self.long):
            for other in (row for row in learned if row[K] is None):
                about = f"CPU seconds of {row[SETTING]} over those of {other[SETTING]}"
                found = verdict_bound(about, row[SECONDS] / other[SECONDS], at_least=1)
                yield "the inner loop is what costs", found

    def draw(self, figure: "Figure", outcome: Outcome) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        places = range(len(outcome.rows))
        style: dict[str, Any] = {"color": COLOURS[0], "linestyle": "", "marker": "o", "markersize": 8}
        square = {"marker": "s", "markersize": 12, "markerfacecolor": "none", "markeredgewidth": 1.6}
        second = {"color": COLOURS[1]}
        for ax, key, more in ((left, SECONDS, {}), (right, GRADIENTS, second), (right, SECOND, second | square)):
            shown = [(float(row[key] or 0), place) for place, row in enumerate(outcome.rows) if row[key]]
            ax.plot([x for x, _ in shown], [place for _, place in shown], **style | more)
        words: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center", "color": INK, "fontsize": 9.5}
        for place, row in enumerate(outcome.rows):
            if not row[GRADIENTS] and not row[SECOND]:
                right.annotate("not reached" if row[SECONDS] is None else "none", (0.04, place), **words)
        left.set(xscale="log", ylim=(len(outcome.rows) - 0.5, -0.5))
        right.set_xscale("log")
        left.set_yticks(places, [str(row[SETTING]) for row in outcome.rows])
        seconds = [float(row[SECONDS] or 1) for row in outcome.rows]
        low, high = min(seconds, default=1), max(seconds, default=1)
        label_plainly(left, x=[x for x in (0.1, 0.3, 1, 3, 10, 30, 100, 300) if low / 1.5 < x < 1.5 * high])
        style_axes(left, "", "CPU seconds", "")
        style_axes(right, "", f"evaluations: {GRADIENTS} (●), {SECOND} (□)", "")
        title = (
            f"On the way to {self.target:g} nats longer chains save few\nsteps, and each step pays for the whole chain"
        )
        figure.suptitle(title, fontsize=11.5, color=INK, ha="left", x=0.02)


def first_step(run: Record, target: float) -> float | None:
    """Step of a run's first evaluation with a KL of at most `target`, nats; None without one."""
    return next((step for step, kl in curve(run, "eval/kl") if kl <= target), None)


def seconds_per_step(run: Record) -> float:
    """CPU seconds of one training step by a run's config, on its number of threads: the median of some steps."""
    cfg = OmegaConf.create(run.config)
    trust = list(cfg.trust)
    set_threads(cfg.threads)
    parts = assemble(cfg, trust)
    trainer = make_trainer(cfg, parts, trust)
    parts.method.prepare(parts.dataset.reference, trainer.rng)
    taken = []
    for _ in range(WARM_UP + TIMED):
        began = process_time()
        trainer.advance()
        taken.append(process_time() - began)
    return median(taken[WARM_UP:])
