"""`ebm evaluate`: a trained model against the data, rebuilt from its checkpoint alone."""

import time
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console

from ebm_cli.acceleration.compile_mode import Work, apply_compile_mode
from ebm_cli.config.trust import trust_of
from ebm_cli.evaluation import suite
from ebm_cli.evaluation.protocol import Protocol
from ebm_cli.reporting.closing_panel import closing_panel
from ebm_cli.reporting.console import duration, relative_path
from ebm_cli.reporting.explanations import explain
from ebm_cli.reporting.figures.canvas import save
from ebm_cli.reporting.figures.overview import final_figure
from ebm_cli.runs.assemble import protocol_of
from ebm_cli.runs.model import Model, load
from ebm_cli.system.device import device_of, set_threads
from ebm_cli.system.files import write_json


def validate(cfg: DictConfig) -> None:
    """Refuse a checkpoint that cannot be used, data that are gone, and keys that do not fit; makes nothing."""
    set_threads(cfg.threads)
    model = _model(cfg)
    _protocol(cfg, model).validate(model.parts().dataset)


def evaluate(cfg: DictConfig) -> None:
    """Measure the model; write results.json and a picture, print the table."""
    path = Path(HydraConfig.get().runtime.output_dir)
    console, began = Console(), time.monotonic()
    model = _model(cfg)
    threads = set_threads(cfg.threads, model.energy)
    parts, protocol = model.parts(), _protocol(cfg, model)
    apply_compile_mode(
        cfg.compile, parts.energy, Work(0, cfg.eval.n_chains, 0, (protocol.kernel,)), threads, console.print
    )
    evaluation = suite.evaluate(parts.energy, parts.method, parts.dataset, protocol)
    found, results = evaluation.results, evaluation.results.values
    write_json(path / "results.json", results)
    places = {"results": relative_path(path / "results.json")}
    if evaluation.samples is not None:
        picture = path / "evaluation.png"
        figure = final_figure(parts.energy, parts.dataset, evaluation.samples, results.get("eval/log_z"), results)
        save(figure, picture)
        places["picture"] = relative_path(picture)
    notes = [*explain(results), *found.notes, *(f"{key}: {why}" for key, why in found.absent.items())]
    title = f"{relative_path(model.path)}, step {model.step:,}: measured in {duration(time.monotonic() - began)}"
    console.print(closing_panel(title, results, places, notes=notes))


def _model(cfg: DictConfig) -> Model:
    model = load(cfg.checkpoint, cfg.which, cfg.weights, list(cfg.trust), device_of(cfg.device).type)
    return model.to_dtype(cfg.dtype)


def _protocol(cfg: DictConfig, model: Model) -> Protocol:
    seed = model.config.seed if cfg.seed is None else cfg.seed
    return protocol_of(cfg, seed, model.config.batch_size, trust_of(cfg))
