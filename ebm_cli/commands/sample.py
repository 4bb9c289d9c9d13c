"""`ebm sample`: run chains on a trained energy, rebuilt from its checkpoint alone.

The energy may be a composition of several checkpoints (`checkpoint=[A,B]`). The distribution may be conditional on
given rows: on the coordinates that a mask keeps (`mask`), or on noisy rows (`noise_std`).
"""

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from torch import Tensor

from ebm_cli.acceleration.compile_mode import Work, apply_compile_mode
from ebm_cli.config.build import build
from ebm_cli.config.trust import trust_of
from ebm_cli.errors import UserError
from ebm_cli.evaluation.chain_health import problems
from ebm_cli.evaluation.chain_summary import acceptance, worst_diagnostics
from ebm_cli.evaluation.results import Results
from ebm_cli.reporting.closing_panel import closing_panel
from ebm_cli.reporting.console import relative_path
from ebm_cli.reporting.figures.canvas import save
from ebm_cli.reporting.figures.completions import GIVEN, completions_figure
from ebm_cli.reporting.figures.overview import samples_figure
from ebm_cli.reporting.optional_pictures import optional
from ebm_cli.reporting.progress import Progress
from ebm_cli.rng import generator
from ebm_cli.runs.conditioning import ChainTarget, make_chain_target, require_stable_step
from ebm_cli.runs.model import Model, compose, load
from ebm_cli.samplers import Kernel, Schedule, adapt, geometric, run, trace
from ebm_cli.system.device import device_of
from ebm_cli.system.files import write_json
from ebm_cli.system.memory import peak_memory_mb
from ebm_cli.system.threads import set_threads

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEFAULT_CHAINS = 1000
"""Chains that run in parallel if `n_chains` is not set."""
PIECE = 100
"""Steps of burn-in between two updates of the progress bar."""


def validate(cfg: DictConfig) -> None:
    """Refuse an unusable checkpoint and numbers that do not fit together; writes nothing."""
    set_threads(cfg.threads)
    model = _load_model(cfg)
    _target(cfg, model)
    _annealing(cfg, _kernel(cfg, model))
    if cfg.n_samples % _n_chains(cfg):
        raise UserError(f"n_samples must be a multiple of n_chains = {_n_chains(cfg)}, got {cfg.n_samples}")


def sample(cfg: DictConfig) -> None:
    """Run the chains; write samples.npz, samples.png and results.json."""
    path = Path(HydraConfig.get().runtime.output_dir)
    console = Console()
    model = _load_model(cfg)
    threads = set_threads(cfg.threads, model.energy)
    kernel, target = _kernel(cfg, model), _target(cfg, model)
    n_steps = cfg.burn_in + cfg.n_samples // _n_chains(cfg) * cfg.thin
    apply_compile_mode(cfg.compile, target.energy, Work(n_steps, _n_chains(cfg), 0, (kernel,)), threads, console.print)
    began = time.monotonic()
    draws, found = _run_chains(cfg, kernel, target, console)
    points = target.points(draws)
    flat = points.flatten(0, 1)
    with torch.no_grad():
        energy = torch.cat([model.energy(part) for part in flat.split(65_536)])
        x = target.in_data_units(model, points)
    results = found.values | {
        "cost/seconds": time.monotonic() - began,
        "cost/peak_memory_mb": peak_memory_mb(flat.device),
    }
    row: dict[str, Any] = {} if target.given is None else {"row": np.arange(len(flat)) % _n_chains(cfg) % target.n_rows}
    np.savez(path / "samples.npz", x=x.flatten(0, 1).cpu().numpy(), energy=energy.cpu().numpy(), **row)
    write_json(path / "results.json", results)
    files = {"samples": relative_path(path / "samples.npz")}
    notes = problems(results)
    is_success = not notes
    is_single, picture = isinstance(cfg.checkpoint, str), path / "samples.png"
    with optional(f"picture: {relative_path(picture)}", notes):
        # A composition has no data of its own.
        data = _held_out_rows(model, len(flat)) if target.given is None and is_single else None
        save(_picture(target, x, data), picture)
        files["picture"] = relative_path(picture)
    source = f"step {model.step:,} of the run" if is_single else f"{len(cfg.checkpoint)} runs together"
    title = f"{len(flat):,} samples by {type(kernel).__name__} from {_n_chains(cfg):,} chains ({source})"
    closing_panel(title, results, files, notes=notes, success=is_success).show(console)


def _run_chains(cfg: DictConfig, kernel: Kernel, target: ChainTarget, console: Console) -> tuple[Tensor, Results]:
    """Burn in, then keep every thin-th position [n_samples / n_chains, n_chains, *Z]; positions and diagnostics."""
    x = target.starts
    rng = generator(cfg.seed, "chains", x.device)
    n_kept = cfg.n_samples // _n_chains(cfg)
    total = cfg.burn_in + n_kept * cfg.thin
    schedule = _annealing(cfg, kernel)
    with Progress(total, console=console) as progress:
        if cfg.adapt and cfg.burn_in:
            kernel, state = adapt(kernel, target.energy, x, cfg.burn_in, rng, schedule=schedule)
            x = state.x
        else:
            for done in range(0, cfg.burn_in, PIECE):
                piece = None if schedule is None else partial(_shifted, schedule, done)
                state, _ = run(kernel, target.energy, x, min(PIECE, cfg.burn_in - done), rng, piece)
                x = state.x
                progress.update(done, {})
        draws, info = trace(
            kernel,
            target.energy,
            x,
            n_kept * cfg.thin,
            cfg.thin,
            rng,
            lambda n: progress.update(cfg.burn_in + n, {}),
        )
    used = None if target.conditional is None else target.conditional.free
    found = acceptance(kernel, info, x[0].numel()) | worst_diagnostics(draws, x, target.n_rows, used)
    return draws, found


def _annealing(cfg: DictConfig, kernel: Kernel) -> Schedule | None:
    """The temperatures of burn-in, or of its first half with `adapt`; None without annealing."""
    if cfg.anneal == 1:
        return None
    if cfg.anneal <= kernel.temperature:
        raise UserError(
            f"anneal={cfg.anneal:g}: must be above sampler.temperature, {kernel.temperature:g}, to which it falls"
        )
    n_steps = cfg.burn_in // 2 if cfg.adapt else cfg.burn_in
    if n_steps < 2:
        raise UserError(
            f"anneal={cfg.anneal:g}: burn_in must be >= {4 if cfg.adapt else 2}, over which it falls, got {cfg.burn_in}"
        )
    return geometric(n_steps, temperature=(float(cfg.anneal), kernel.temperature))


def _shifted(schedule: Schedule, done: int, i: int) -> Mapping[str, float]:
    """The schedule after `done` steps."""
    return schedule(done + i)


def _load_model(cfg: DictConfig) -> Model:
    """The model of one checkpoint, or the composition of several."""
    device = device_of(cfg.device).type
    read = partial(load, which=cfg.which, weights=cfg.weights, trust=list(cfg.trust), device=device)
    if isinstance(cfg.checkpoint, str):
        if cfg.compose.kind != "product" or cfg.compose.weights is not None:
            raise UserError(f"compose: needs checkpoint=[A,B], two or more, got checkpoint={cfg.checkpoint}")
        model = read(cfg.checkpoint)
    else:
        model = compose(list(cfg.checkpoint), read, cfg.compose.kind, cfg.compose.weights)
    return model.with_data_file(cfg.dataset.path).to_dtype(cfg.dtype)


def _n_chains(cfg: DictConfig) -> int:
    """Chains that run in parallel: `n_chains`, by default `DEFAULT_CHAINS` or one for each sample if that is fewer."""
    return int(min(DEFAULT_CHAINS, cfg.n_samples) if cfg.n_chains is None else cfg.n_chains)


def _kernel(cfg: DictConfig, model: Model) -> Kernel:
    """The sampler that was chosen, by default that of the run."""
    node = model.config.sampler if cfg.get("sampler") is None else cfg.sampler
    kernel: Kernel = build(node, "sampler", Kernel, trust=trust_of(cfg))
    if cfg.adapt and kernel.target_accept is None:
        raise UserError(f"adapt=true: {type(kernel).__name__} accepts every step, so there is no rate to adapt to")
    require_stable_step(kernel, model, cfg.noise_std)
    return kernel


def _target(cfg: DictConfig, model: Model) -> ChainTarget:
    """The target of the chains and their starts, with the rows that it is conditional on."""
    return make_chain_target(model, cfg.init, cfg.mask, cfg.noise_std, _n_chains(cfg), cfg.seed)


def _picture(target: ChainTarget, x: Tensor, data: Tensor | None) -> "Figure":
    """Samples [N, n_chains, *shape] in data units beside data; completions of images beside the given rows."""
    given = target.given
    if given is None or x.ndim != 5 or x.shape[2] not in (1, 3):
        return samples_figure(x.flatten(0, 1), data)
    # The last draws of all chains of a row before earlier ones.
    of_rows = [x[:, row :: target.n_rows].flip(0).flatten(0, 1) for row in range(min(GIVEN, target.n_rows))]
    return completions_figure(given.rows, given.keep, of_rows)


def _held_out_rows(model: Model, n: int) -> Tensor | None:
    """Held-out rows to show beside the samples; None if the data set is no longer available."""
    try:
        return model.dataset.held_out(min(n, 10_000))
    except UserError:
        return None
