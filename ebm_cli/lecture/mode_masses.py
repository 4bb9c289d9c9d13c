"""The mass of a far mode that chains teach: with weights that of the data, without them another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from ebm_cli.claims.base import Verdict
from ebm_cli.energies import Mixture
from ebm_cli.lecture.base import Measurement, Outcome, Row, verdict_bound, verdict_within
from ebm_cli.reporting.figures.chart import points, style_axes, theory
from ebm_cli.runs.model import load
from ebm_cli.runs.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WEIGHTED, PERSISTENT, SHORT = "with weights", "persistent", "from the data"
MASS = "mass of the first mode"


@final
@dataclass(frozen=True)
class ModeMasses(Measurement):
    """Weight of the first component of a trained mixture, read from the model, against that of the data.

    Args:
        mass: of the data's first mode, in (0, 1).
        within: accepted error with weights.
        off_by: least error without.
    """

    claim: ClassVar[str] = "chains that do not cross between modes lose their masses, unless the chains have weights"
    trains: ClassVar[bool] = True

    mass: float
    within: float
    off_by: float

    def measure(self, runs: Sequence[Record]) -> Outcome:
        rows: list[Row] = []
        verdicts = []
        for run in runs:
            chains = _chains(run)
            energy = load(run.path).energy
            if not isinstance(energy, Mixture):
                raise TypeError(f"{run.path}: its energy must be a mixture, got {type(energy).__name__}")
            found = float(energy.weights[0].detach())
            rows.append({"chains": chains, "seed": int(run.config["seed"]), MASS: found})
            verdicts.append((chains, self._judge(found, chains == WEIGHTED)))
        return Outcome(rows, verdicts)

    def _judge(self, found: float, is_weighted: bool) -> Verdict:
        if is_weighted:
            return verdict_within("mass", found, self.mass, self.within)
        return verdict_bound(f"mass {found:.3g}, error", abs(found - self.mass), at_least=self.off_by)

    def draw(self, figure: "Figure", outcome: Outcome) -> None:
        ax = figure.subplots()
        seeds = sorted({float(row["seed"] or 0) for row in outcome.rows})
        theory(ax, seeds, [self.mass] * len(seeds), "data")
        for number, chains in enumerate(dict.fromkeys(str(row["chains"]) for row in outcome.rows)):
            alike = [row for row in outcome.rows if row["chains"] == chains]
            x, y = [float(row["seed"] or 0) for row in alike], [float(row[MASS] or 0) for row in alike]
            points(ax, number, x, y, f"chains {chains}", linestyle="")
        ax.set(ylim=(0, 1), xticks=seeds)
        style_axes(ax, "Weighted chains learn the mass of a far mode;\nothers lose it", "seed", MASS)


def _chains(run: Record) -> str:
    """The kind of chains that a run was trained with."""
    if run.get("method.weights") == "jarzynski":
        return WEIGHTED
    return PERSISTENT if run.get("method.start") == "persistent" else SHORT
