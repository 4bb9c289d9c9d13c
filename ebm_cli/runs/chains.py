"""The chains of `ebm sample` and of `ebm_cli.load(…).sample`: from a config and a model to samples; writes nothing."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import NamedTuple, Protocol

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

Show = Callable[[int], None]
"""Takes the steps done."""
Say = Callable[[str], None]
"""Takes a line on compiling."""


class Bar(Protocol):
    """Opens the display of so many steps, of which some were done before, and yields what takes the steps done."""

    def __call__(self, total: int, done: int = 0) -> AbstractContextManager[Show]: ...


def no_bar(total: int, done: int = 0) -> AbstractContextManager[Show]:
    """The display that shows nothing."""
    return nullcontext(lambda done: None)


def quiet(line: str) -> None:
    """Say nothing."""


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


def draw(cfg: DictConfig, model: Model, bar: Bar = no_bar, say: Say = quiet) -> Drawn:
    """Run the chains of a validated config.

    Args:
        cfg: of `ebm sample`.
        model: whose energy the chains target.
        bar: shows the steps done.
        say: takes a line on compiling.
    """
    plan = prepare(cfg, model, say)
    rng = generator(cfg.seed, "chains", plan.target.starts.device)
    n_kept = cfg.n_samples // n_chains(cfg)
    with bar(cfg.burn_in + n_kept * cfg.thin) as show:
        settled = burn_in(cfg, plan, rng, show)
        steps = n_kept * cfg.thin, cfg.thin, rng, lambda n: show(cfg.burn_in + n)
        energy, jumps = plan.target.energy, Results()
        if plan.density is None:
            draws, info = trace(settled.kernel, energy, settled.at, *steps)
        else:
            draws, info, accepted = trace_with_jumps(settled.kernel, energy, plan.density, settled.at, *steps)
            jumps = Results({"sampler/jumps": float(accepted.mean())})
    measured = chain_results(
        settled.kernel, energy, info, draws, settled.starts, cfg.thin, plan.target.n_rows, plan.used, cfg.burn_in
    )
    x, values, row = plan.samples(cfg, model, draws)
    return Drawn(x, values, row, plan.said | measured | jumps, settled.kernel, plan.target)


class Plan(NamedTuple):
    """The chains of a config, before their first step.

    Attributes:
        kernel, target: the sampler, and what the chains leave invariant, with their starts.
        density: of the jumps before each kept position; None for no jumps.
        starts: of the chains, with their kind.
    """

    kernel: Kernel
    target: ChainTarget
    density: Density | None
    starts: Starts

    @property
    def said(self) -> Results:
        """The kind of the starts, and the remarks on them."""
        return Results({"sampler/init": self.starts.init}, notes=(*self.target.notes, *self.starts.notes))

    @property
    def used(self) -> Tensor | None:
        """The coordinates of each chain that are part of its distribution [n_chains, *Z]; None is all."""
        return None if self.target.conditional is None else self.target.conditional.free

    def samples(self, cfg: DictConfig, model: Model, draws: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Positions of the chains [N, n_chains, *Z] as samples.

        Returns:
            x [N, n_chains, *shape] in data units, energy [N, n_chains] in nats, and the given row of each flat sample
            [N n_chains], None without given rows.
        """
        points = self.target.points(draws)
        flat = points.flatten(0, 1)
        with torch.no_grad():
            energy = torch.cat([model.energy(part) for part in flat.split(65_536)])
            x = self.target.in_data_units(model, points)
        given = self.target.given is not None
        row = torch.arange(len(flat)) % n_chains(cfg) % self.target.n_rows if given else None
        return x, energy.view(points.shape[:2]), row


def prepare(cfg: DictConfig, model: Model, say: Say = quiet, starts: Starts | None = None) -> Plan:
    """Build the sampler and the target of a validated config, and choose where the chains start.

    Args:
        cfg, model, say: as in `draw`.
        starts: of chains that have run already; None to make them.
    """
    _settle_adapt(cfg, model)
    threads = set_threads(cfg.threads, model.energy)
    kernel, target = _kernel(cfg, model), _target(cfg, model)
    n_steps = cfg.burn_in + cfg.n_samples // n_chains(cfg) * cfg.thin
    # Adapting reads the acceptance after every step, in torch.
    chains = ChainWork(kernel, 1, n_steps - (cfg.burn_in if cfg.adapt else 0), n_chains(cfg))
    apply_compile_mode(cfg.compile, target.energy, Work(n_steps, n_chains(cfg), 0, (chains,)), threads, say)
    starts = _starts(cfg, model, target) if starts is None else starts
    # Only starts in every mode say that a density is known which covers all of them.
    can_jump = starts.init == "annealed" and kernel.target_accept is not None and not kernel.has_ladder
    density = model.energy.reference if can_jump else None
    return Plan(kernel, replace(target, starts=starts.x), density, starts)


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


class Settled(NamedTuple):
    """Chains after burn-in: the kernel, adapted or not, their positions or state, and the starts that they left or not.

    A chain that left its start during burn-in has moved.
    """

    kernel: Kernel
    at: Tensor | State
    starts: Tensor


def burn_in(cfg: DictConfig, plan: Plan, rng: torch.Generator, show: Show) -> Settled:
    """Run the chains from their starts through burn-in; `show` takes the steps done."""
    kernel, energy, starts = plan.kernel, plan.target.energy, plan.target.starts
    if not cfg.burn_in:
        return Settled(kernel, starts, starts)
    schedule = _annealing(cfg, kernel)
    if cfg.adapt:
        return Settled(*adapt(kernel, energy, starts, cfg.burn_in, rng, schedule=schedule), starts)
    kernel, state = settle(kernel, energy, starts, cfg.burn_in, rng, schedule, show)
    freed = free_stuck(kernel, energy, state.x, starts, cfg.burn_in, rng)
    # Those have left their start on a detour only.
    starts = torch.where(freed == state.x, starts, freed)
    return Settled(kernel, state if freed is state.x else freed, starts)


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
