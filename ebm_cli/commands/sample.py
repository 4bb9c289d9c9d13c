"""`ebm sample`: chains on a trained energy, rebuilt from its checkpoint alone."""

import time
from pathlib import Path

import numpy as np
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from torch import Tensor

from ebm_cli.config import build, trust_of
from ebm_cli.errors import UserError
from ebm_cli.evaluation.chains import summary
from ebm_cli.experiment import Model, device_of, load, rng, set_threads
from ebm_cli.measuring import Results
from ebm_cli.memory import peak_memory_mb
from ebm_cli.reporting import plots
from ebm_cli.reporting.console import Progress, as_typed, closing_panel
from ebm_cli.samplers import Kernel, adapt, run, trace
from ebm_cli.training.rundir import write_json


def check(cfg: DictConfig) -> None:
    """Refuse a checkpoint that cannot be used, and numbers that do not fit together; makes nothing."""
    model = _model(cfg)
    _starts(cfg, model)
    _kernel(cfg, model)
    if cfg.n_samples % cfg.n_chains:
        raise UserError(f"n_samples must be a multiple of n_chains = {cfg.n_chains}, got {cfg.n_samples}")


def sample(cfg: DictConfig) -> None:
    """Run the chains; write samples.npz, samples.png and results.json."""
    path = Path(HydraConfig.get().runtime.output_dir)
    console = Console()
    model = _model(cfg)
    set_threads(cfg.threads, model.energy)
    kernel = _kernel(cfg, model)
    began = time.monotonic()
    draws, results = _run(cfg, model, kernel, console)
    flat = draws.flatten(0, 1)
    with torch.no_grad():
        energy = torch.cat([model.energy(part) for part in flat.split(65_536)])
        x = model.standardizer.inverse(flat)
    results |= {"cost/seconds": time.monotonic() - began, "cost/peak_memory_mb": peak_memory_mb(flat.device)}
    np.savez(path / "samples.npz", x=x.cpu().numpy(), energy=energy.cpu().numpy())
    write_json(path / "results.json", results)
    plots.save(plots.samples_figure(x, _data(model, len(x))), path / "samples.png")
    places = {"samples": as_typed(path / "samples.npz"), "picture": as_typed(path / "samples.png")}
    notes = [] if bool(torch.isfinite(flat).all()) else ["some chains left the finite numbers: lower sampler.step_size"]
    title = (
        f"{len(x):,} samples by {type(kernel).__name__} from {cfg.n_chains:,} chains (step {model.step:,} of the run)"
    )
    console.print(closing_panel(title, results, places, notes=notes, success=not notes))


def _run(cfg: DictConfig, model: Model, kernel: Kernel, console: Console) -> tuple[Tensor, Results]:
    """Burn in, then keep every thin-th position: [n_samples / n_chains, n_chains, *shape], and diagnostics."""
    x = _starts(cfg, model)
    generator = rng(cfg.seed, "chains", x.device)
    n_kept = cfg.n_samples // cfg.n_chains
    total = cfg.burn_in + n_kept * cfg.thin
    with Progress(total, console=console) as progress:
        if cfg.adapt and cfg.burn_in:
            kernel, state = adapt(kernel, model.energy, x, cfg.burn_in, generator)
            x = state.x
        else:
            # In pieces, so that the bar moves.
            for done in range(0, cfg.burn_in, 100):
                state, _ = run(kernel, model.energy, x, min(100, cfg.burn_in - done), generator)
                x = state.x
                progress.update(done, {})
        draws, info = trace(
            kernel,
            model.energy,
            x,
            n_kept * cfg.thin,
            cfg.thin,
            generator,
            lambda n: progress.update(cfg.burn_in + n, {}),
        )
    results: Results = {"sampler/acceptance": float(info.accept.mean()), "sampler/step_size": float(kernel.step_size)}
    if n_kept >= 4:
        results |= {f"sampler/{name}": value for name, value in summary(draws).items()}
    return draws, results


def _model(cfg: DictConfig) -> Model:
    model = load(cfg.checkpoint, cfg.which, cfg.weights, list(cfg.trust), device_of(cfg.device).type)
    if cfg.dtype == "auto":
        return model
    dtype = getattr(torch, cfg.dtype)
    model.energy.to(dtype)
    model.standardizer.to(dtype)
    return model


def _kernel(cfg: DictConfig, model: Model) -> Kernel:
    """The sampler that was chosen, else the run's own."""
    node = model.config.sampler if cfg.get("sampler") is None else cfg.sampler
    kernel: Kernel = build(node, "sampler", Kernel, trust=trust_of(cfg))
    if cfg.adapt and kernel.target_accept is None:
        raise UserError(f"adapt=true: {type(kernel).__name__} accepts every step, so there is no rate to adapt to")
    return kernel


def _starts(cfg: DictConfig, model: Model) -> Tensor:
    """Where the chains begin [n_chains, *shape], standardised units: wide noise, data rows, or the rows of a file."""
    like = model.standardizer.mean
    shape = model.energy.shape
    if cfg.init == "noise":
        generator = rng(cfg.seed, "starts", like.device)
        # Standardised data have unit scale: twice that covers them.
        return 2 * torch.randn(cfg.n_chains, *shape, generator=generator, dtype=like.dtype, device=like.device)
    rows = model.dataset.held_out(cfg.n_chains).to(like) if cfg.init == "data" else _read_rows(cfg.init, shape).to(like)
    # Chains beyond the rows there are begin where the first ones do.
    index = torch.arange(cfg.n_chains, device=like.device) % len(rows)
    with torch.no_grad():
        starts: Tensor = model.standardizer(rows[index])
    return starts


def _read_rows(file: str, shape: tuple[int, ...]) -> Tensor:
    """Rows [N, *shape] in data units from .npy, or from the array `x` of .npz."""
    path = Path(file)
    if not path.is_file():
        raise UserError(f"init={file}: must be noise, data, or an .npy or .npz file that exists")
    try:
        loaded = np.load(path, allow_pickle=False)
        rows = loaded["x"] if isinstance(loaded, np.lib.npyio.NpzFile) else loaded
    except (ValueError, OSError, KeyError) as error:
        raise UserError(f"init={file}: cannot be read as .npy, or as .npz with an array x ({error})") from error
    if rows.shape[1:] != tuple(shape) or len(rows) == 0:
        raise UserError(f"init={file}: must have rows of shape {tuple(shape)}, got an array of shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise UserError(
            f"init={file}: row {int(np.argwhere(~np.isfinite(rows))[0][0])} holds a number that is not finite"
        )
    return torch.from_numpy(rows.astype(np.float64))


def _data(model: Model, n: int) -> Tensor | None:
    """Held-out rows to show beside the samples; None where the data set is not to be had any more."""
    try:
        return model.dataset.held_out(min(n, 10_000))
    except UserError:
        return None
