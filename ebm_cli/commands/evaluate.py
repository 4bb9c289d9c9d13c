"""`ebm evaluate`: measure a trained model, rebuilt from its checkpoint alone, against the data."""

import logging
import time
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console

from ebm_cli.acceleration.compile_mode import Work, apply_compile_mode
from ebm_cli.config.trust import trust_of
from ebm_cli.evaluation import suite
from ebm_cli.evaluation.protocol import Protocol
from ebm_cli.evaluation.values import number
from ebm_cli.reporting.closing_panel import closing_panel
from ebm_cli.reporting.console import duration, relative_path
from ebm_cli.reporting.explanations import explain
from ebm_cli.reporting.figures.canvas import save
from ebm_cli.reporting.figures.overview import final_figure
from ebm_cli.reporting.optional_pictures import optional
from ebm_cli.runs.assemble import described_data, protocol_of
from ebm_cli.runs.model import Model, load
from ebm_cli.system.device import device_of
from ebm_cli.system.files import write_json
from ebm_cli.system.threads import set_threads

logger = logging.getLogger(__name__)


def validate(cfg: DictConfig) -> None:
    """Refuse an unusable checkpoint, missing data, and keys that do not fit together; writes nothing."""
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
    apply_compile_mode(
        cfg.compile, parts.energy, Work(0, cfg.eval.n_chains, 0, (protocol.kernel,)), threads, console.print
    )
    for sentence in described_data(parts.dataset, protocol):
        logger.info(sentence)
        console.print(sentence, highlight=False, markup=False)
    evaluation = suite.evaluate(parts.energy, parts.method, parts.dataset, protocol)
    found, results = evaluation.results, evaluation.results.values
    write_json(path / "results.json", results)
    files = {"results": relative_path(path / "results.json")}
    notes = [*explain(results), *found.notes, *(f"{key}: {reason}" for key, reason in found.absent.items())]
    if evaluation.samples is not None:
        picture = path / "evaluation.png"
        with optional(f"picture: {relative_path(picture)}", notes):
            log_z = number(results, "eval/log_z")
            save(final_figure(parts.energy, parts.dataset, evaluation.samples, log_z, results), picture)
            files["picture"] = relative_path(picture)
    title = f"{relative_path(model.path)}, step {model.step:,}: measured in {duration(time.monotonic() - began)}"
    closing_panel(title, results, files, notes=notes).show(console)


def _load_model(cfg: DictConfig) -> Model:
    model = load(cfg.checkpoint, cfg.which, cfg.weights, list(cfg.trust), device_of(cfg.device).type)
    return model.with_data_file(cfg.dataset.path).to_dtype(cfg.dtype)


def _protocol(cfg: DictConfig, model: Model) -> Protocol:
    """The evaluation protocol of the config, by default with the seed of the run."""
    seed = model.config.seed if cfg.seed is None else cfg.seed
    return protocol_of(cfg, seed, model.config.batch_size, trust_of(cfg))
