"""`ebm evaluate`: measure a trained model, rebuilt from its checkpoint alone, against the data."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from ebm_cli.datasets.findings import Finding
from ebm_cli.errors import NotTrustworthy
from ebm_cli.evaluation import suite
from ebm_cli.evaluation.chain_health import problems
from ebm_cli.evaluation.narrowest import narrowest_width
from ebm_cli.evaluation.overall import overall, untrusted, with_overall, with_unbounded
from ebm_cli.evaluation.values import Values, number
from ebm_cli.reporting.closing_panel import closing_panel
from ebm_cli.reporting.console import announce, duration, make_console, relative_path
from ebm_cli.reporting.explanations import absences, explain
from ebm_cli.reporting.figures.canvas import save
from ebm_cli.reporting.figures.overview import final_figure
from ebm_cli.reporting.jsonl import read
from ebm_cli.reporting.optional_pictures import optional
from ebm_cli.reporting.stages import Stages
from ebm_cli.runs.assemble import described_data
from ebm_cli.runs.instantiate import Parts
from ebm_cli.runs.model import Model
from ebm_cli.runs.record import jobs_of
from ebm_cli.runs.stored_config import run_dir
from ebm_cli.system.files import write_json
from ebm_cli.training.build import examined
from ebm_cli.training.causes import Evidence, causes
from ebm_cli.training.launched import with_number_of_ranks
from ebm_cli.training.measuring import require_same_step, subject_of
from ebm_cli.training.processes import ranks_of
from ebm_cli.training.rank import accompany

__all__ = ["accompany", "evaluate", "finalize", "validate"]


def validate(cfg: DictConfig) -> None:
    """Refuse an unusable checkpoint, missing data, and keys that do not fit together; writes nothing."""
    with_number_of_ranks(cfg)
    subject = subject_of(cfg)
    subject.protocol.validate(subject.parts.dataset)


def evaluate(cfg: DictConfig) -> None:
    """Measure the model; write results.json and a picture, print the table of results."""
    path = Path(HydraConfig.get().runtime.output_dir)
    console, began = Console(), time.monotonic()
    with ranks_of(cfg, path, "evaluate") as ranks:
        model, parts, protocol = subject_of(cfg, console.print)
        announce([*model.remarks, *described_data(parts.dataset, protocol)], console)
        require_same_step(model, ranks)
        with Stages("evaluation", console) as stages:
            second = None if parts.polish is None else parts.polish.method
            evaluation = suite.evaluate(
                parts.energy, parts.method, parts.dataset, protocol, stages.begin, second, ranks
            )
    findings, unbounded = examined(model.config, parts)
    evaluated = with_unbounded(evaluation.results, unbounded)
    assessment = overall(evaluated, math.prod(parts.dataset.shape))
    found = with_overall(evaluated, assessment)
    results = found.values
    write_json(path / "results.json", results)
    files = {"results": relative_path(path / "results.json")}
    notes = [
        *explain(results),
        *found.notes,
        *_causes(cfg, model, parts, results, findings),
        *absences(found.absent),
    ]
    if evaluation.samples is not None:
        picture = path / "evaluation.png"
        with optional(f"picture: {relative_path(picture)}", notes):
            log_z = number(results, "eval/log_z")
            save(final_figure(parts.energy, parts.dataset, evaluation.samples, log_z, results), picture)
            files["picture"] = relative_path(picture)
    title = f"{relative_path(model.path)}, step {model.step:,}: measured in {duration(time.monotonic() - began)}"
    panel = closing_panel(title, results, files, notes=notes, failures=problems(results), overall=assessment)
    panel.log()
    panel.show(console)
    reason = untrusted(results, cfg.strict)
    if reason is not None:
        raise NotTrustworthy(reason)


def finalize(cfg: DictConfig, sweep_dir: Path) -> None:
    """Rank the evaluations of a sweep."""
    from ebm_cli.comparison.sweep_ends import print_evaluations

    print_evaluations(jobs_of(sweep_dir), make_console())


def _causes(cfg: DictConfig, model: Model, parts: Parts, results: Values, findings: Sequence[Finding]) -> list[str]:
    """Findings about the data, and likely causes of the results, from the run's config and, if it is there, its log."""
    run = run_dir(cfg.checkpoint)
    log = None if run is None else run / "metrics.jsonl"
    history = read(log) if log is not None and log.is_file() else []
    config: Any = OmegaConf.to_container(model.config, resolve=True)
    return causes(Evidence(results, history, config, lambda: narrowest_width(parts.dataset.reference), findings))
