"""The end of a training run: final evaluation, results.json, status, then figures and the closing panel."""

import logging
import math
import time
from typing import Any

from torch import Tensor

from ebm_cli.config.trust import foreign_packages
from ebm_cli.energies import Energy, Tilted
from ebm_cli.energies.column_tails import Tails
from ebm_cli.evaluation import suite
from ebm_cli.evaluation.monitored import monitored_value
from ebm_cli.evaluation.narrowest import narrowest_width
from ebm_cli.evaluation.overall import overall, with_overall, with_unbounded
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.values import Values
from ebm_cli.reporting.console import duration
from ebm_cli.reporting.jsonl import read
from ebm_cli.system.files import write_json
from ebm_cli.system.memory import peak_memory_mb
from ebm_cli.training import final_figures
from ebm_cli.training.causes import Evidence, causes
from ebm_cli.training.component_calibration import calibrate_components
from ebm_cli.training.final_evaluation import FinalEvaluation, Measured
from ebm_cli.training.session import Session
from ebm_cli.training.steps import Steps
from ebm_cli.training.summary import Ending, closing_summary
from ebm_cli.training.tail_calibration import calibrate_tails
from ebm_cli.training.trainer import Trainer

logger = logging.getLogger(__name__)


def finish(session: Session, seconds: float) -> Steps[float | None]:
    """Ask for an evaluation of the averaged weights, those of best.pt with patience, and write what a finished run has.

    Args:
        session: trained; its log is open.
        seconds: of training.

    Returns:
        The monitored value; None if there is none.
    """
    began = time.monotonic()
    parts, trainer, monitor, history, log, run = (
        session.parts, session.trainer, session.monitor, session.history, session.log, session.directory.path
    )  # fmt: skip
    has_patience = session.keys.patience is not None
    monitored, value = _evaluate_last_step(session)
    parts.energy.eval()
    evaluated_step, file = trainer.step, "last.pt"
    if has_patience and math.isfinite(history.best):
        value, evaluated_step, file = history.best, session.checkpointer.load_best_weights(), "best.pt"
    logger.info(f"trained to step {trainer.step} in {duration(seconds)}")
    with trainer.ema.applied():
        scales = calibrate_components(parts.energy, parts.method, parts.dataset, session.keys.seed)
        tails = calibrate_tails(parts.energy, parts.dataset, session.keys.seed)
        session.checkpointer.add_corrections(evaluated_step, scales, tails)
        _tell_weights(session, scales, tails)
        second, asked = trainer.second(evaluated_step), time.monotonic()
        made: Measured = yield FinalEvaluation(session, second, session.checkpointer.folder / file)
        # Waiting for its turn is no cost of the run.
        began, found = began + time.monotonic() - asked - made.seconds, made.evaluation
        evaluated = with_unbounded(found.results, log.opening.unbounded)
        assessment = overall(evaluated, math.prod(parts.dataset.shape))
        measured = with_overall(evaluated, assessment)
        results = measured.values | _costs(trainer, seconds) | {"cost/eval_seconds": time.monotonic() - began}
    numbers: Values = {name: number for name, number in results.items() if not isinstance(number, str)}
    if monitor.uses_validation_rows:
        # The value that chose the weights, beside the results on the test rows.
        results |= {} if value is None else {monitor.key: value}
        numbers = {**monitored, **numbers}
    elif not has_patience:
        session.update_best(results)
    kept = session.checkpointer.use_last_as_best() if math.isinf(history.best) else None
    write_json(run / "results.json", results)
    log.write(trainer.step, numbers)
    stopped = _out_of_time(session) or _out_of_patience(session)
    ending = Ending(trainer.step, evaluated_step, seconds, stopped, kept)
    _record_end(session, ending)
    # The run is finished: a figure that fails, or a signal while it is drawn, changes nothing above.
    failures: list[str] = []
    with trainer.ema.applied():
        figures = final_figures.draw(
            parts, session.snapshots, log.board, found.samples, results, run, trainer.step, failures
        )
    log.close(failures)
    measured |= Results(notes=(*_causes(session, results), *failures))
    foreign = foreign_packages(session.checkpointer.config)
    summary = closing_summary(run, ending, measured, results, figures, history, assessment, foreign)
    summary.log()
    summary.show(log.console)
    return monitored_value(session.keys.monitor, results)


def _record_end(session: Session, ending: Ending) -> None:
    waited, skipped = session.history.stopping.waited, session.trainer.skipped
    session.directory.finish("finished", ending.steps, ending.stopped, waited, skipped, ending.evaluated)


def take_part(session: Session) -> None:
    """Take part in what `finish` does in common, in a process that is not the first of its run."""
    _evaluate_last_step(session)
    parts, ranks = session.parts, session.trainer.ranks
    parts.energy.eval()
    _take_weights(parts.energy, ranks.announce(None))
    suite.serve(parts.energy, parts.method, parts.dataset, session.protocol, ranks)
    if not session.monitor.uses_validation_rows and session.keys.patience is None:
        session.update_best({})


def _tell_weights(session: Session, scales: Tensor | None, tails: Tails | None) -> None:
    """Tell the other processes the weights that are evaluated, with what was fitted after training."""
    ranks = session.trainer.ranks
    if ranks.size > 1:
        state = {"weights": session.parts.energy.state_dict(), "scales": scales}
        ranks.announce(state | {"tails": None if tails is None else tails._asdict()})


def _take_weights(energy: Energy, state: dict[str, Any]) -> None:
    energy.load_state_dict(state["weights"])
    if isinstance(energy, Tilted) and state["scales"] is not None:
        energy.scales.take(state["scales"])
    if isinstance(energy, Tilted) and state["tails"] is not None:
        energy.tails.take(Tails(**state["tails"]))


def _evaluate_last_step(session: Session) -> tuple[Values, float | None]:
    """The monitor's results at the last step, empty if they are written already or not needed, and their value."""
    stopping = session.history.stopping
    is_needed = session.monitor.uses_validation_rows or session.keys.patience is not None
    if not is_needed or stopping.seen == session.trainer.step:
        return {}, stopping.last
    results = session.evaluate_monitor()
    return results, session.update_best(results)


def _out_of_patience(session: Session) -> str | None:
    """Sentence that says that training ended early; None where it did not."""
    stopping = session.history.stopping
    return stopping.reason(session.monitor.key) if stopping.should_stop(session.keys.patience) else None


def _out_of_time(session: Session) -> str | None:
    """Sentence that says that `max_seconds` left out the second phase, or a part of it; None where it did not."""
    phase, limit, step = session.trainer.polishing, session.keys.max_seconds, session.trainer.step
    if phase is None or limit is None:
        return None
    how = "raise it and continue with checkpoint= and this run"
    if phase.began is None:
        return f"max_seconds={limit:g} ended training at step {step:,}, before the second phase, polish: {how}"
    if step < phase.end and not session.history.stopping.should_stop(session.keys.patience):
        done, of_all = step - phase.began, phase.end - phase.began
        return f"max_seconds={limit:g} ended the second phase, polish, after {done:,} of {of_all:,} steps: {how}"
    return None


def _causes(session: Session, results: Values) -> list[str]:
    """Findings about the data, and likely causes of the results, from what the run has logged."""
    history = read(session.directory.path / "metrics.jsonl")
    rows = session.parts.dataset.reference
    findings, config = session.log.opening.findings, session.checkpointer.config
    return causes(Evidence(results, history, config, lambda: narrowest_width(rows), findings))


def _costs(trainer: Trainer, seconds: float) -> dict[str, float]:
    """Costs of training; evaluations are per data row: a mean over the steps."""
    steps = max(1, trainer.step)
    costs = {f"cost/{name}_evals": count / steps for name, count in trainer.evaluations._asdict().items()}
    if trainer.polishing is not None:
        costs["cost/polish_steps"] = trainer.phase_step if trainer.polishing.began is not None else 0
    return {**costs, "cost/seconds": seconds, "cost/peak_memory_mb": peak_memory_mb(trainer.rng.device)}
