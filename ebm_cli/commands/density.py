"""`ebm density`: energy, log-density and rank among held-out rows for each row of a file."""

from pathlib import Path

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from torch import Tensor

from ebm_cli.errors import UserError
from ebm_cli.evaluation.batched import in_chunks
from ebm_cli.evaluation.context import Context
from ebm_cli.evaluation.log_z import Normalisation, closed_form, unknown
from ebm_cli.evaluation.protocol import Protocol
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.row_scores import score_rows
from ebm_cli.reporting.closing_panel import closing_panel
from ebm_cli.reporting.console import announce, relative_path
from ebm_cli.reporting.explanations import absences
from ebm_cli.reporting.row_score_files import write_scores
from ebm_cli.reporting.strangest_rows import STRANGEST, strangest_table, summary
from ebm_cli.runs.given_rows import read_given_rows
from ebm_cli.runs.model import Model, load
from ebm_cli.samplers.mala import MALA
from ebm_cli.system.device import device_of
from ebm_cli.system.files import write_json
from ebm_cli.system.precision import use_full_precision
from ebm_cli.system.threads import set_threads


def validate(cfg: DictConfig) -> None:
    """Refuse an unusable checkpoint, and a file that does not fit it; writes nothing."""
    use_full_precision()
    set_threads(cfg.threads)
    read_given_rows(cfg.data, _load_model(cfg))


def density(cfg: DictConfig) -> None:
    """Score the rows; write density.csv, density.npz and results.json, print the strangest rows."""
    path = Path(HydraConfig.get().runtime.output_dir)
    console, model = Console(), _load_model(cfg)
    announce(model.remarks, console)
    set_threads(cfg.threads, model.energy)
    given = read_given_rows(cfg.data, model)
    normalisation, held_out, notes = reference(cfg, model)
    energy = torch.cat([_energies(model, x) for x in given.batches()])
    scores = score_rows(energy, normalisation, float(model.standardizer.log_det), held_out)
    files = {name: relative_path(file) for name, file in write_scores(path, scores).items()}
    found = normalisation.results | summary(scores, held_out) | Results(notes=(*given.notes, *notes))
    write_json(path / "results.json", found.values)
    files["results"] = relative_path(path / "results.json")
    rows = scores.strangest(STRANGEST)
    console.print(strangest_table(scores, rows, given.at(torch.tensor(rows)), given.names, console.width))
    title = f"{len(given):,} row{'s' * (len(given) != 1)} of {cfg.data} (step {model.step:,} of the run)"
    panel = closing_panel(title, found.values, files, notes=[*found.notes, *absences(found.absent)])
    panel.log()
    panel.show(console)


def _load_model(cfg: DictConfig) -> Model:
    model = load(cfg.checkpoint, cfg.which, cfg.weights, list(cfg.trust), device_of(cfg.device).type)
    return model.with_data_file(cfg.dataset.path).to_dtype(cfg.dtype)


def _energies(model: Model, x: Tensor) -> Tensor:
    """f of rows in data units [B, *shape] → [B], float64 on the CPU; NaN for a row with a missing number."""
    with torch.no_grad():
        return in_chunks(model.energy, model.standardizer.standardise(x)).cpu()


def reference(cfg: DictConfig, model: Model) -> tuple[Normalisation, Tensor | None, tuple[str, ...]]:
    """log Z, the energies of held-out rows, and notes; only a closed form without the run's data."""
    try:
        parts = model.parts()
    except UserError as reason:
        lost = unknown(f"it needs the data of the run, which are not available ({reason})")
        note = "No p-values: they need the held-out rows of the run, which are not available."
        return closed_form(model.energy) or lost, None, (note,)
    protocol = Protocol(
        metrics=("density",),
        kernel=MALA(),
        n_samples=cfg.n_held_out,
        n_chains=cfg.n_chains,
        burn_in=0,
        n_temperatures=cfg.n_temperatures,
        base="auto",
        init="annealed",
        batch_size=1,
        seed=cfg.seed,
    )
    context = Context(parts.energy, parts.method, parts.dataset, protocol)
    with torch.no_grad():
        held_out = in_chunks(parts.energy, context.rows).cpu()
    keys = [f"dataset.{key}" for key in ("dequantise", "noise_std") if model.config.dataset.get(key)]
    noisy = f"Held-out rows carry the noise of the run's data ({', '.join(keys)}); the rows of the file do not."
    return context.normalisation, held_out, (noisy,) if keys else ()
