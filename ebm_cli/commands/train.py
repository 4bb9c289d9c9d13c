"""`ebm train`: train one model, evaluate it, and judge what its experiment claims."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.console import Console

from ebm_cli.claims.judge import build_claims, collect_verdicts, conclude, judge_runs
from ebm_cli.cli.sweep_cores import threads_of_a_job, worker_count
from ebm_cli.config.trust import trust_of
from ebm_cli.config.type_checks import to_plain
from ebm_cli.densities.memo import of_few_rows
from ebm_cli.errors import NotTrustworthy, UserError, did_you_mean
from ebm_cli.evaluation.monitored import monitored_value
from ebm_cli.evaluation.overall import UNBOUNDED, overall, untrusted
from ebm_cli.evaluation.result_registry import QUALITIES, registered
from ebm_cli.evaluation.results import Results
from ebm_cli.lecture.base import Measurement
from ebm_cli.lecture.report import build_measurement, measured_verdicts
from ebm_cli.lecture.run import conclude_again, run_measurement
from ebm_cli.methods import LossOutput
from ebm_cli.reporting.closing_panel import as_sentence
from ebm_cli.reporting.console import make_console
from ebm_cli.runs.assemble import assemble, protocol_of
from ebm_cli.runs.checkpoint import FOLDER
from ebm_cli.runs.labels import labels
from ebm_cli.runs.record import jobs_of, read
from ebm_cli.runs.reserve import AlreadyFinished, is_finished, take_reserved, total_steps
from ebm_cli.runs.reserve import reserve as reserve_directory
from ebm_cli.runs.signals import Signals
from ebm_cli.runs.status import read_status
from ebm_cli.system.device import set_deterministic
from ebm_cli.system.precision import use_full_precision
from ebm_cli.system.ranks import Ranks
from ebm_cli.system.threads import ALL_THREADS, set_threads
from ebm_cli.training.build import make_trainer
from ebm_cli.training.init_from import require_source, start_from
from ebm_cli.training.launched import ECHO, with_number_of_ranks
from ebm_cli.training.rank import accompany
from ebm_cli.training.run import run_training
from ebm_cli.training.steps import Steps, alone

if TYPE_CHECKING:
    from ebm_cli.replicas.drive import Ended

__all__ = ["accompany", "finalize", "reserve", "train", "validate"]


def reserve(cfg: DictConfig, path: Path, *, lock: bool) -> None:
    """Reserve the run's directory; a run that begins in it needs the run that it starts from."""
    if cfg.checkpoint is None and not (path / FOLDER / "last.pt").is_file():
        require_source(cfg)
    measurement = build_measurement(cfg)
    try:
        reserve_directory(cfg, path, lock=lock, trains=_trains(measurement))
    except AlreadyFinished as finished:
        # As at the end of a finished sweep: what is claimed, measured and drawn may be another thing by now.
        if measurement is None or measurement.trains:
            _judge(cfg, path, [path])
        else:
            conclude_again(measurement, path)
        results = _results(path)
        reason = untrusted(results, cfg.strict)
        if reason is not None:
            raise NotTrustworthy(f"{finished}. {reason}") from None
        raise AlreadyFinished(f"{finished}{_worth(results)}", path) from None


def validate(cfg: DictConfig) -> None:
    """Refuse a config whose parts do not fit together; writes nothing."""
    set_deterministic(cfg.deterministic)
    use_full_precision()
    set_threads(cfg.threads)
    build_claims(cfg.claims, trust_of(cfg))
    require_monitored(cfg)
    if not _trains(build_measurement(cfg)):
        return
    with of_few_rows():
        parts = assemble(cfg, trust_of(cfg))
    # Whether the run is resumed, for which its source may be gone, is known when its directory is (`reserve`).
    if cfg.checkpoint is None and cfg.init_from is not None and Path(cfg.init_from).exists():
        start_from(cfg, parts)
    size = with_number_of_ranks(cfg).parallel.ranks
    make_trainer(cfg, parts, trust_of(cfg), Ranks(size=size))
    protocol_of(cfg, cfg.seed, cfg.batch_size, trust_of(cfg)).validate(parts.dataset)


def require_monitored(cfg: DictConfig) -> None:
    """Refuse a new run that is to be monitored by a result that does not exist; metrics of one's own may have any.

    Raises:
        UserError: see above.
    """
    key = f"eval/{cfg.monitor.rpartition('/')[2]}"
    is_new = cfg.checkpoint is None and all(isinstance(metric, str) for metric in cfg.metrics)
    if is_new and cfg.monitor != "auto" and registered(key) is None:
        near = did_you_mean(key, (result.key for result in QUALITIES)) or "; auto chooses one"
        raise UserError(f"monitor={cfg.monitor}: no such result{near}")


def validate_together(cfg: DictConfig) -> None:
    """Refuse a config that cannot be trained as replicas; writes nothing."""
    from ebm_cli.replicas.support import require_supported

    with of_few_rows():
        require_supported(cfg, assemble(cfg, trust_of(cfg)))


def train(cfg: DictConfig) -> float | None:
    """Train one model and judge what its experiment claims; returns its monitored value, for a sweeper to minimise.

    Raises:
        NotTrustworthy: the run finished, and its results are not to be trusted.
    """
    with Signals(ECHO if cfg.parallel.ranks == "env" else 0.0) as signals:
        return alone(steps_of(cfg, signals))


def steps_of(cfg: DictConfig, signals: Signals, console: Console | None = None) -> Steps[float | None]:
    """`train`, whose steps are taken by whoever runs the generator.

    Args:
        cfg: as for `train`.
        signals: that end the run after its current step.
        console: the terminal, or one that is quiet.
    """
    job = HydraConfig.get()
    path = Path(job.runtime.output_dir)
    labelled = labels(to_plain(job.runtime), to_plain(cfg))
    choices = {group: label for group, label in labelled.items() if "hydra" not in group}
    measurement = build_measurement(cfg)
    if measurement is not None and not measurement.trains:
        run_measurement(cfg, measurement, path)
        return None
    # The directory is released before the signals: a launcher that puts the job back into its queue may start it at
    # once.
    with take_reserved(path) as directory:
        reserve(cfg, path, lock=False)
        status = read_status(path)
        if status is not None and is_finished(cfg, status):
            results = _results(path)
            print(f"{path}: finished at step {status['step']}, nothing to do{_worth(results)}")
            value = monitored_value(cfg.monitor, results)
        else:
            words = list(job.overrides.task)
            value = yield from run_training(cfg, directory, signals, choices, words, console or Console())
    if job.mode is not RunMode.MULTIRUN:
        _judge(cfg, path, [path])
    reason = untrusted(_results(path), cfg.strict)
    if reason is not None:
        raise NotTrustworthy(reason, value)
    return value


def train_together(
    runs: Sequence[Steps[float | None]],
    cfg: DictConfig,
    focus: Callable[[int], None],
    show: Callable[[int, int, int, Sequence[float]], None],
    on_end: Callable[[int], None],
    jobs: object,
    signals: Signals,
) -> "list[Ended]":
    """Train runs whose configs differ in their seeds as one network; returns how each of them ended.

    Args:
        runs: `steps_of` each.
        cfg: of one of them.
        focus: called with the number of a run before its code runs.
        show: called every `log_every` steps with the step, the last step, the number of runs that have not ended, and
            the losses of those whose energy took the step.
        on_end: called with the number of a run that has ended.
        jobs: processes that make the final evaluations: a whole number, auto for one a core, or 1 for this process.
        signals: those of the runs.
    """
    from ebm_cli.replicas.drive import Lockstep
    from ebm_cli.replicas.evaluators import Evaluators

    steps, log_every = total_steps(cfg), int(cfg.log_every)

    def on_step(step: int, found: Sequence[LossOutput]) -> None:
        if step % log_every == 0:
            show(step, steps, len(found), [float(out.loss) for out in found if out.player == "energy"])

    threads = cfg.threads if isinstance(cfg.threads, int) else ALL_THREADS
    n = min(worker_count(jobs), len(runs))
    if n == 1:
        return Lockstep(runs, focus, threads, on_step, on_end).run()
    # The signal is recorded until the runs that are evaluated or write their results have heard of it.
    with signals.deferred(), Evaluators(n, threads_of_a_job(n), cfg.threads, signals) as evaluators:
        return Lockstep(runs, focus, threads, on_step, on_end, evaluators).run()


def finalize(cfg: DictConfig, sweep_dir: Path) -> None:
    """Rank the jobs of a sweep, and judge what its experiment claims, on all of them."""
    jobs = jobs_of(sweep_dir)
    # Imports scipy, which training does without.
    from ebm_cli.comparison.ranking import print_ranking

    print_ranking(sweep_dir, jobs, make_console())
    _judge(cfg, sweep_dir, jobs)


def _judge(cfg: DictConfig, directory: Path, runs: list[Path]) -> None:
    """Judge an experiment by its claims, and by its measurement on the runs if it has one."""
    claims, measurement = build_claims(cfg.claims, trust_of(cfg)), build_measurement(cfg)
    if measurement is None:
        judge_runs(claims, directory, runs)
    elif measurement.trains:
        records = [read(run) for run in runs]
        verdicts = collect_verdicts(claims, records) + measured_verdicts(measurement, directory, records)
        conclude(directory, verdicts)


def _trains(measurement: Measurement | None) -> bool:
    """True if a run trains a model, False if its measurement is all that it does."""
    return measurement is None or measurement.trains


def _worth(results: dict[str, Any]) -> str:
    """Sentence on the worth of a finished run, to append; empty for a run of a version that did not assess it."""
    word, found = results.get("eval/overall"), overall(Results(results))
    if word is None:
        return f". {as_sentence(found.sentence)}" if UNBOUNDED in results else ""
    # Of images, "broken" has another bound, which depends on their size: then the word alone is known here.
    return f". {as_sentence(found.sentence if found.word == word else word)}"


def _results(run: Path) -> dict[str, Any]:
    """The results of a finished run."""
    results: dict[str, Any] = json.loads((run / "results.json").read_text(encoding="utf-8"))
    return results
