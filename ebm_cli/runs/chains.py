"""The chains of `ebm sample` and of `ebm_cli.load(…).sample`: from a config and a model to samples; writes nothing."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import NamedTuple

import torch
from omegaconf import DictConfig
from torch import Tensor

from ebm_cli.acceleration.compile_mode import ChainWork, Work, apply_compile_mode
from ebm_cli.config.build import build
from ebm_cli.config.trust import trust_of
from ebm_cli.densities import Density
from ebm_cli.errors import UserError
from ebm_cli.evaluation.chain_summary import chain_results
from ebm_cli.evaluation.results import Results
from ebm_cli.rng import generator
from ebm_cli.runs.annealed_starts import Starts, annealed_starts, at_noise
from ebm_cli.runs.conditioning import ChainTarget, make_chain_target, require_stable_step
from ebm_cli.runs.energy_alone import require_energy
from ebm_cli.runs.model import Model
from ebm_cli.samplers import (
    Kernel,
    Schedule,
    State,
    Tempering,
    Underdamped,
    adapt,
    free_stuck,
    geometric,
    settle,
    trace,
)
from ebm_cli.samplers.independence import trace_with_jumps
from ebm_cli.samplers.metric import wants_metric, why_not_measured
from ebm_cli.system.threads import set_threads

DEFAULT_CHAINS = 1000
"""Chains that run in parallel if `n_chains` is not set."""

Bar = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Opens the display of so many steps, which yields what takes the steps done."""


def no_bar(total: int) -> AbstractContextManager[Callable[[int], None]]:
    """The display that shows nothing."""
    return nullcontext(lambda done: None)


def validate_chains(cfg: DictConfig, model: Model) -> None:
    """Refuse numbers that do not fit together, or do not fit the model; settles `adapt=auto`."""
    _settle_adapt(cfg, model)
    kernel, target = _kernel(cfg, model), _target(cfg, model)
    reason = kernel.why_not(target.starts[0].numel())
    if reason is not None:
        raise UserError(f"sampler: {reason}")
    reason = why_not_measured(kernel, cfg.burn_in)
    if reason is not None:
        raise UserError(f"sampler.{reason}")
    _annealing(cfg, kernel)
    n = n_chains(cfg)
    if cfg.n_samples % n:
        whole = -(-cfg.n_samples // n) * n
        raise UserError(f"n_samples must be a multiple of n_chains = {n}, got {cfg.n_samples}; set n_samples={whole}")


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


def draw(cfg: DictConfig, model: Model, bar: Bar = no_bar, say: Callable[[str], None] = lambda line: None) -> Drawn:
    """Run the chains of a validated config.

    Args:
        cfg: of `ebm sample`.
        model: whose energy the chains target.
        bar: shows the steps done.
        say: takes a line on compiling.
    """
    _settle_adapt(cfg, model)
    threads = set_threads(cfg.threads, model.energy)
    kernel, target = _kernel(cfg, model), _target(cfg, model)
    n_steps = cfg.burn_in + cfg.n_samples // n_chains(cfg) * cfg.thin
    # Adapting reads the acceptance after every step, in torch.
    chains = ChainWork(kernel, 1, n_steps - (cfg.burn_in if cfg.adapt else 0), n_chains(cfg))
    apply_compile_mode(cfg.compile, target.energy, Work(n_steps, n_chains(cfg), 0, (chains,)), threads, say)
    starts = _starts(cfg, model, target)
    # Only starts in every mode say that a density is known which covers all of them.
    can_jump = starts.init == "annealed" and kernel.target_accept is not None and not kernel.has_ladder
    density = model.energy.reference if can_jump else None
    draws, measured = _run_chains(cfg, kernel, replace(target, starts=starts.x), bar, density)
    points = target.points(draws)
    flat = points.flatten(0, 1)
    with torch.no_grad():
        energy = torch.cat([model.energy(part) for part in flat.split(65_536)])
        x = target.in_data_units(model, points)
    row = torch.arange(len(flat)) % n_chains(cfg) % target.n_rows if target.given is not None else None
    measured = Results({"sampler/init": starts.init}, notes=(*target.notes, *starts.notes)) | measured
    return Drawn(x, energy.view(points.shape[:2]), row, measured, kernel, target)


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
    cfg: DictConfig, kernel: Kernel, target: ChainTarget, bar: Bar, density: Density | None
) -> tuple[Tensor, Results]:
    """Burn in, then keep every thin-th position [n_samples / n_chains, n_chains, *Z]; positions and diagnostics.

    Before each kept position chains jump by proposals from the density, if there is one.
    """
    starts = target.starts
    begin: Tensor | State = starts
    rng = generator(cfg.seed, "chains", starts.device)
    n_kept = cfg.n_samples // n_chains(cfg)
    total = cfg.burn_in + n_kept * cfg.thin
    schedule = _annealing(cfg, kernel)
    with bar(total) as show:
        if cfg.adapt and cfg.burn_in:
            kernel, begin = adapt(kernel, target.energy, starts, cfg.burn_in, rng, schedule=schedule)
        elif cfg.burn_in:
            kernel, state = settle(kernel, target.energy, starts, cfg.burn_in, rng, schedule, show)
            freed = free_stuck(kernel, target.energy, state.x, starts, cfg.burn_in, rng)
            # Those have left their start on a detour only.
            starts = torch.where(freed == state.x, starts, freed)
            begin = state if freed is state.x else freed
        steps, jumps = (n_kept * cfg.thin, cfg.thin, rng, lambda n: show(cfg.burn_in + n)), Results()
        if density is None:
            draws, info = trace(kernel, target.energy, begin, *steps)
        else:
            draws, info, accepted = trace_with_jumps(kernel, target.energy, density, begin, *steps)
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


def n_chains(cfg: DictConfig) -> int:
    """Chains that run in parallel: `n_chains`, by default `DEFAULT_CHAINS` or one for each sample if that is fewer."""
    return int(min(DEFAULT_CHAINS, cfg.n_samples) if cfg.n_chains is None else cfg.n_chains)


def _settle_adapt(cfg: DictConfig, model: Model) -> None:
    """Replace `adapt=auto` in the config by true or false.

    The step size in a run's config is that of its training. An energy with a reference trains without chains by
    default, and has structure at the scale of each component, which no step size fits that was not measured. The same
    adaptation measures a metric, and bounds the bias of a kernel that knows the error of its energy.
    """
    if cfg.adapt == "auto":
        cfg.adapt = False
        kernel = _kernel(cfg, model)
        wanted = model.energy.reference is not None or wants_metric(kernel) or kernel.target_error is not None
        cfg.adapt = kernel.can_adapt and cfg.burn_in > 0 and wanted
    if wants_metric(_kernel(cfg, model)) and not (cfg.adapt and cfg.burn_in):
        raise UserError("sampler.metric is measured while burn-in adapts the step size: set adapt=true burn_in=1000")


def _kernel(cfg: DictConfig, model: Model) -> Kernel:
    """The sampler that was chosen, by default that of the run."""
    node = model.config.sampler if cfg.get("sampler") is None else cfg.sampler
    kernel: Kernel = build(node, "sampler", Kernel, trust=trust_of(cfg))
    if cfg.adapt and not kernel.can_adapt:
        raise UserError(_no_rate(kernel))
    require_stable_step(kernel, model, cfg.noise_std)
    if cfg.checkpoint is None:
        require_energy(model, kernel)
    return kernel


def _no_rate(kernel: Kernel) -> str:
    """Why burn-in cannot adapt the kernel, and what can be chosen."""
    inner, key = (kernel.kernel, "sampler.kernel") if isinstance(kernel, Tempering) else (kernel, "sampler")
    remedies = [f"{key}=mala"]
    if isinstance(inner, Underdamped):
        # A ladder adapts to the acceptance alone.
        remedies += [] if inner is not kernel else [f"{key}.energy_error=1e-4"]
        remedies += [f"{key}.test_every=5"]
    return (
        f"adapt=true: {type(inner).__name__} has no acceptance rate to adapt the step size to; set adapt=false, or "
        f"{', or '.join(remedies)}"
    )


def _target(cfg: DictConfig, model: Model) -> ChainTarget:
    """The target of the chains and their starts, with the rows that it is conditional on."""
    return make_chain_target(model, cfg.init, cfg.mask, cfg.noise_std, n_chains(cfg), cfg.seed)
