"""`ebm evaluate`: measure a trained model, rebuilt from its checkpoint alone, against the data."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from ebm_cli.acceleration.compile_mode import CompileMode, Work, apply_compile_mode
from ebm_cli.acceleration.native_chains import covers
from ebm_cli.config.trust import trust_of
from ebm_cli.datasets.findings import Finding
from ebm_cli.errors import NotTrustworthy
from ebm_cli.evaluation import suite
from ebm_cli.evaluation.chain_health import problems
from ebm_cli.evaluation.narrowest import narrowest_width
from ebm_cli.evaluation.overall import overall, untrusted, with_overall, with_unbounded
from ebm_cli.evaluation.protocol import Protocol
from ebm_cli.evaluation.values import Values, number
from ebm_cli.reporting.closing_panel import closing_panel
from ebm_cli.reporting.console import announce, duration, make_console, relative_path
from ebm_cli.reporting.explanations import absences, explain
from ebm_cli.reporting.figures.canvas import save
from ebm_cli.reporting.figures.overview import final_figure
from ebm_cli.reporting.jsonl import read
from ebm_cli.reporting.optional_pictures import optional
from ebm_cli.reporting.stages import Stages
from ebm_cli.runs.assemble import described_data, protocol_of
from ebm_cli.runs.instantiate import Parts
from ebm_cli.runs.model import Model, load
from ebm_cli.runs.record import jobs_of
from ebm_cli.runs.stored_config import run_dir
from ebm_cli.system.device import device_of
from ebm_cli.system.files import write_json
from ebm_cli.system.precision import use_full_precision
from ebm_cli.system.threads import set_threads
from ebm_cli.training.build import chains_of, examined
from ebm_cli.training.causes import Evidence, causes


def validate(cfg: DictConfig) -> None:
    """Refuse an unusable checkpoint, missing data, and keys that do not fit together; writes nothing."""
    use_full_precision()
    set_threads(cfg.threads)
    model = _load_model(cfg)
    _protocol(cfg, model).validate(model.parts().dataset)


def evaluate(cfg: DictConfig) -> None:
    """Measure the model; write results.json and a picture, print the table of results."""
    path = Path(HydraConfig.get().runtime.output_dir)
    console, began = Console(), time.monotonic()
    model = _load_model(cfg)
    threads = set_threads(cfg.threads, model.energy)
    parts, protocol = model.parts(), _protocol(cfg, model)
    work = Work(0, cfg.eval.n_chains, 0, (chains_of(protocol),))
    apply_compile_mode(_compile_mode(cfg, model), parts.energy, work, threads, console.print)
    announce([*model.remarks, *described_data(parts.dataset, protocol)], console)
    with Stages("evaluation", console) as stages:
        second = None if parts.polish is None else parts.polish.method
        evaluation = suite.evaluate(parts.energy, parts.method, parts.dataset, protocol, stages.begin, second)
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


def _load_model(cfg: DictConfig) -> Model:
    model = load(cfg.checkpoint, cfg.which, cfg.weights, list(cfg.trust), device_of(cfg.device).type)
    return model.with_data_file(cfg.dataset.path).to_dtype(cfg.dtype)


def _compile_mode(cfg: DictConfig, model: Model) -> CompileMode:
    """The requested mode; `auto` repeats native chains of the run, so that its results are found again."""
    is_native = model.config.get("compile") == "native" and covers(_protocol(cfg, model).kernel, model.energy)
    mode: CompileMode = "native" if cfg.compile == "auto" and is_native else cfg.compile
    return mode


def _protocol(cfg: DictConfig, model: Model) -> Protocol:
    """The evaluation protocol of the config, by default with the seed of the run, and with its chains that follow."""
    seed = model.config.seed if cfg.seed is None else cfg.seed
    protocol = protocol_of(cfg, seed, model.config.batch_size, trust_of(cfg))
    return replace(protocol, fallback=model.config.eval.fallback) if protocol.fallback == "auto" else protocol
