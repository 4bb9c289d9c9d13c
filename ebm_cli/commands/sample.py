"""`ebm sample`: run chains on a trained energy, rebuilt from its checkpoint alone, or on one that the user writes.

The energy may be a composition of several checkpoints (`checkpoint=[A,B]`), or have no checkpoint (`energy=…`). The
distribution may be conditional on given rows: on the coordinates that a mask keeps (`mask`), or on noisy rows
(`noise_std`).

Long because the chains of the verb and of `ebm_cli.load(…).sample` are one way, from the config to the samples.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from torch import Tensor

from ebm_cli.acceleration.compile_mode import Work, apply_compile_mode
from ebm_cli.config.build import build
from ebm_cli.config.trust import trust_of
from ebm_cli.densities import Density
from ebm_cli.errors import NotTrustworthy, UserError
from ebm_cli.evaluation.chain_health import problems
from ebm_cli.evaluation.chain_summary import chain_results
from ebm_cli.evaluation.coordinate_summary import summarise_coordinates
from ebm_cli.evaluation.result_registry import verdict
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.values import Value, Values, format_value
from ebm_cli.reporting.closing_panel import closing_panel
from ebm_cli.reporting.console import announce, relative_path
from ebm_cli.reporting.coordinate_table import coordinate_table
from ebm_cli.reporting.explanations import absences, explain
from ebm_cli.reporting.figures.canvas import save
from ebm_cli.reporting.figures.completions import GIVEN, completions_figure
from ebm_cli.reporting.figures.overview import samples_figure
from ebm_cli.reporting.optional_pictures import optional
from ebm_cli.reporting.progress import Progress
from ebm_cli.reporting.sample_files import write_samples
from ebm_cli.rng import generator
from ebm_cli.runs.annealed_starts import Starts, annealed_starts, at_noise
from ebm_cli.runs.conditioning import ChainTarget, make_chain_target, require_stable_step
from ebm_cli.runs.energy_alone import require_energy
from ebm_cli.runs.model import Model
from ebm_cli.runs.sampled_model import model_to_sample
from ebm_cli.samplers import Kernel, Schedule, adapt, free_stuck, geometric, run, trace
from ebm_cli.samplers.independence import trace_with_jumps
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
    validate_for(cfg, model_to_sample(cfg))


def validate_for(cfg: DictConfig, model: Model) -> None:
    """Refuse numbers that do not fit together, or do not fit the model; settles `adapt=auto`."""
    _settle_adapt(cfg, model)
    _target(cfg, model)
    _annealing(cfg, _kernel(cfg, model))
    if cfg.n_samples % _n_chains(cfg):
        n_chains = _n_chains(cfg)
        whole = -(-cfg.n_samples // n_chains) * n_chains
        raise UserError(
            f"n_samples must be a multiple of n_chains = {n_chains}, got {cfg.n_samples}; set n_samples={whole}"
        )


def sample(cfg: DictConfig) -> None:
    """Run the chains; write samples.npz, results.json and samples.png.

    Raises:
        NotTrustworthy: chains never moved, samples are not finite, or with `strict` chains have not mixed; after
            everything is written and printed.
    """
    path = Path(HydraConfig.get().runtime.output_dir)
    console = Console()
    model = model_to_sample(cfg)
    announce(model.remarks, console)
    began = time.monotonic()
    drawn = draw(cfg, model, console)
    target, x = drawn.target, drawn.x
    flat = drawn.energy.flatten()
    file = write_samples(path, x.flatten(0, 1), flat, drawn.row)
    costs: dict[str, Value] = {
        "cost/seconds": time.monotonic() - began,
        "cost/peak_memory_mb": peak_memory_mb(flat.device),
    }
    measured = drawn.measured | Results(costs)
    names = model.column_names  # of a run without a file, its data set is built for them
    table = _coordinates(target, x, names)
    write_json(path / "results.json", {**measured.values, **({"sampler/coordinates": table} if table else {})})
    files = {"samples": relative_path(file.path), "results": relative_path(path / "results.json")}
    notes = [*explain(measured.values), *measured.notes, *absences(measured.absent)]
    failures = [*problems(measured.values), *file.failures]
    if file.is_whole:
        picture = path / "samples.png"
        with optional(f"picture: {relative_path(picture)}", notes):
            data = _held_out_rows(cfg, model, target, len(flat), notes)
            save(_picture(target, x, data, names), picture)
            files["picture"] = relative_path(picture)
    chains = f"{_n_chains(cfg):,} chain{'s' * (_n_chains(cfg) != 1)}"
    samples = f"{len(flat):,} sample{'s' * (len(flat) != 1)}"
    title = f"{samples} by {type(drawn.kernel).__name__} from {chains} ({_source(cfg, model)})"
    if table:
        console.print(coordinate_table(table, console.width))
    panel = closing_panel(title, measured.values, files, notes=notes, failures=failures)
    panel.log()
    panel.show(console)
    reasons = [*failures, *(_unmixed(measured.values) if cfg.strict else [])]
    if reasons:
        raise NotTrustworthy(" ".join(reasons))


class Drawn(NamedTuple):
    """Samples, and what is known of their chains.

    Attributes:
        x: [N, n_chains, *shape], data units.
        energy: [N, n_chains], nats.
        row: the given row that each sample belongs to, by position in the flat samples; None without given rows.
        measured: diagnostics of the chains.
        kernel, target: the sampler, and what the chains leave invariant.
    """

    x: Tensor
    energy: Tensor
    row: Tensor | None
    measured: Results
    kernel: Kernel
    target: ChainTarget


def draw(cfg: DictConfig, model: Model, console: Console) -> Drawn:
    """Run the chains of a validated config; writes nothing but a progress bar."""
    _settle_adapt(cfg, model)
    threads = set_threads(cfg.threads, model.energy)
    kernel, target = _kernel(cfg, model), _target(cfg, model)
    n_steps = cfg.burn_in + cfg.n_samples // _n_chains(cfg) * cfg.thin
    apply_compile_mode(cfg.compile, target.energy, Work(n_steps, _n_chains(cfg), 0, (kernel,)), threads, console.print)
    starts = _starts(cfg, model, target)
    # Only starts in every mode say that a density is known which covers all of them.
    density = model.energy.reference if starts.init == "annealed" and kernel.target_accept is not None else None
    draws, measured = _run_chains(cfg, kernel, replace(target, starts=starts.x), console, density)
    points = target.points(draws)
    flat = points.flatten(0, 1)
    with torch.no_grad():
        energy = torch.cat([model.energy(part) for part in flat.split(65_536)])
        x = target.in_data_units(model, points)
    row = torch.arange(len(flat)) % _n_chains(cfg) % target.n_rows if target.given is not None else None
    measured = Results({"sampler/init": starts.init}, notes=(*target.notes, *starts.notes)) | measured
    return Drawn(x, energy.view(points.shape[:2]), row, measured, kernel, target)


def _unmixed(values: Values) -> list[str]:
    """Sentences on diagnostics of the chains that are not good enough, for `strict=true`."""
    found = {key: verdict(key, values) for key in ("sampler/rhat", "sampler/ess_bulk", "sampler/ess_tail")}
    return [
        f"{key} is {format_value(values[key])}, {v.word} ({v.reference}), and strict=true."
        for key, v in found.items()
        if v.good is False
    ]


def _coordinates(target: ChainTarget, x: Tensor, names: Sequence[str] | None) -> list[dict[str, Any]]:
    """A summary of each coordinate of samples [N, n_chains, *shape], data units.

    Empty for samples that are not finite, or whose chains are conditional on different rows.
    """
    if target.n_rows > 1 or not bool(x.isfinite().all()):
        return []
    return summarise_coordinates(x, names)


def _starts(cfg: DictConfig, model: Model, target: ChainTarget) -> Starts:
    """First points of the chains: the starts of the target, or annealed points in their place."""
    if cfg.init != "annealed":
        return Starts(target.starts, cfg.init)
    if cfg.checkpoint is None:
        return at_noise(target.starts, "an energy without a run has no data that annealing could start from")
    if not isinstance(cfg.checkpoint, str):
        return at_noise(target.starts, "a composition of runs has no data that annealing could start from")
    if cfg.anneal != 1:
        reason = f"anneal={cfg.anneal:g} heats them during burn-in, which would undo the weights of annealed starts"
        return at_noise(target.starts, reason)
    return annealed_starts(model, target.starts, cfg.seed)


def _run_chains(
    cfg: DictConfig, kernel: Kernel, target: ChainTarget, console: Console, density: Density | None
) -> tuple[Tensor, Results]:
    """Burn in, then keep every thin-th position [n_samples / n_chains, n_chains, *Z]; positions and diagnostics.

    Before each kept position chains jump by proposals from the density, if there is one.
    """
    x = starts = target.starts
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
            freed = free_stuck(kernel, target.energy, x, target.starts, cfg.burn_in, rng)
            # Those have left their start on a detour only.
            x, starts = freed, torch.where(freed == x, starts, freed)
        steps, jumps = (n_kept * cfg.thin, cfg.thin, rng, lambda n: progress.update(cfg.burn_in + n, {})), Results()
        if density is None:
            draws, info = trace(kernel, target.energy, x, *steps)
        else:
            draws, info, accepted = trace_with_jumps(kernel, target.energy, density, x, *steps)
            jumps = Results({"sampler/jumps": float(accepted.mean())})
    used = None if target.conditional is None else target.conditional.free
    # A chain that left its start during burn-in has moved.
    measured = chain_results(kernel, target.energy, info, draws, starts, cfg.thin, target.n_rows, used, cfg.burn_in)
    return draws, measured | jumps


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


def _n_chains(cfg: DictConfig) -> int:
    """Chains that run in parallel: `n_chains`, by default `DEFAULT_CHAINS` or one for each sample if that is fewer."""
    return int(min(DEFAULT_CHAINS, cfg.n_samples) if cfg.n_chains is None else cfg.n_chains)


def _settle_adapt(cfg: DictConfig, model: Model) -> None:
    """Replace `adapt=auto` in the config by true or false.

    The step size in a run's config is that of its training. An energy with a reference trains without chains by
    default, and has structure at the scale of each component, which no step size fits that was not measured.
    """
    if cfg.adapt == "auto":
        cfg.adapt = False
        can_adapt = _kernel(cfg, model).target_accept is not None and cfg.burn_in > 0
        cfg.adapt = can_adapt and model.energy.reference is not None


def _kernel(cfg: DictConfig, model: Model) -> Kernel:
    """The sampler that was chosen, by default that of the run."""
    node = model.config.sampler if cfg.get("sampler") is None else cfg.sampler
    kernel: Kernel = build(node, "sampler", Kernel, trust=trust_of(cfg))
    if cfg.adapt and kernel.target_accept is None:
        raise UserError(f"adapt=true: {type(kernel).__name__} accepts every step, so there is no rate to adapt to")
    require_stable_step(kernel, model, cfg.noise_std)
    if cfg.checkpoint is None:
        require_energy(model, kernel)
    return kernel


def _target(cfg: DictConfig, model: Model) -> ChainTarget:
    """The target of the chains and their starts, with the rows that it is conditional on."""
    return make_chain_target(model, cfg.init, cfg.mask, cfg.noise_std, _n_chains(cfg), cfg.seed)


def _picture(target: ChainTarget, x: Tensor, data: Tensor | None, names: Sequence[str] | None) -> "Figure":
    """Samples [N, n_chains, *shape] in data units beside data; completions of images beside the given rows."""
    given = target.given
    if given is None or x.ndim != 5 or x.shape[2] not in (1, 3):
        return samples_figure(x.flatten(0, 1), data, names=names)
    # The last draws of all chains of a row before earlier ones.
    of_rows = [x[:, row :: target.n_rows].flip(0).flatten(0, 1) for row in range(min(GIVEN, target.n_rows))]
    return completions_figure(given.rows, given.keep, of_rows)


def _held_out_rows(cfg: DictConfig, model: Model, target: ChainTarget, n: int, notes: list[str]) -> Tensor | None:
    """Held-out rows to show beside samples of a whole run's model; None, and a note, if its data are not available."""
    # A composition has no data of its own.
    if target.given is not None or not isinstance(cfg.checkpoint, str):
        return None
    try:
        return model.dataset.held_out(min(n, 10_000))
    except UserError as reason:
        notes.append(f"the picture shows no data: {reason}")
        return None


def _source(cfg: DictConfig, model: Model) -> str:
    """Words for where the energy comes from."""
    if cfg.checkpoint is None:
        return "an energy without training"
    is_single = isinstance(cfg.checkpoint, str)
    return f"step {model.step:,} of the run" if is_single else f"{len(cfg.checkpoint)} runs together"
