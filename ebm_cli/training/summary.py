"""The closing panel of a training run: results, notes on them, files, and commands to type next."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ebm_cli.evaluation.chain_health import problems
from ebm_cli.evaluation.overall import Overall
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.values import Values
from ebm_cli.reporting.closing_panel import ClosingPanel, closing_panel
from ebm_cli.reporting.commands import shell_command, shell_line
from ebm_cli.reporting.console import relative_path
from ebm_cli.reporting.explanations import absences, explain
from ebm_cli.runs import record
from ebm_cli.training.history import History


@dataclass(frozen=True)
class Ending:
    """The end of a run.

    Attributes:
        steps: trained.
        evaluated: step of the weights that were evaluated, those of best.pt or the last.
        seconds: of training.
        stopped: why training ended early; None if it did not.
        kept: step of a best.pt of the first phase that stays, because the second has no monitored value; None if none
            does.
    """

    steps: int
    evaluated: int
    seconds: float
    stopped: str | None
    kept: int | None = None


def closing_summary(
    run: Path,
    ending: Ending,
    measured: Results,
    results: Values,
    figures: Mapping[str, str],
    history: History,
    assessment: Overall | None = None,
    foreign: Sequence[str] = (),
) -> ClosingPanel:
    """Summarise a finished run.

    Args:
        run: run directory.
        ending: its end.
        measured: by the evaluation: its notes, and why results are missing.
        results: in results.json.
        figures: what a figure shows → its path.
        history: of the run.
        assessment: what it is worth.
        foreign: packages whose classes the run's config names: the next command has to trust them.
    """
    notes = [*explain(results), *measured.notes, *absences(measured.absent)]
    if history.rollbacks.history:
        notes.append(f"guard=rollback: {history.rollbacks.describe()}")
    if ending.stopped is not None:
        notes.append(ending.stopped)
    if ending.evaluated != ending.steps:
        notes.append(
            f"These are the results of best.pt, of step {ending.evaluated:,}; last.pt is of step {ending.steps:,}."
        )
        if ending.evaluated == 0:
            notes.append(
                "Step 0 is the density that the energy bends: no later step predicts the validation rows better."
            )
    if ending.kept is not None:
        notes.append(
            f"best.pt is of step {ending.kept:,}, in the first phase: the second has no {history.monitored}; "
            "monitor=NAME chooses another result"
        )
    elif math.isinf(history.best):
        notes.append(
            f"best.pt is the last checkpoint: there is no {history.monitored}; monitor=NAME chooses another result"
        )
    path = relative_path(run)
    commands = [
        shell_command("sample", {"checkpoint": path} | ({"trust": list(foreign)} if foreign else {})),
        shell_line("tensorboard", "--logdir", path),
    ]
    places = {"run": path, **figures}
    title, failures = _title(run, ending), problems(results)
    return closing_panel(title, results, places, commands, notes, failures=failures, overall=assessment)


def _title(run: Path, ending: Ending) -> str:
    """Method and data set as the first command of the run named them: one that resumes it names none."""
    choices = record.read(run).hydra_choices
    return f"{choices.get('method')} on {choices.get('dataset')}: {ending.steps:,} steps in {ending.seconds:.0f} s"
