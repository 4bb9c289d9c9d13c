"""The chains of `ebm sample` and of `ebm_cli.load(…).sample`: from a config and a model to samples; writes nothing."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import NamedTuple, Protocol

import torch
from omegaconf import DictConfig
from torch import Tensor

from ebm_cli.acceleration.compile_mode import ChainWork, Work, apply_compile_mode
from ebm_cli.densities import Density
from ebm_cli.evaluation.chain_summary import chain_results
from ebm_cli.evaluation.results import Results
from ebm_cli.rng import generator
from ebm_cli.runs.annealed_starts import Starts, annealed_starts, at_noise
from ebm_cli.runs.chain_settings import annealing_of, kernel_of, n_chains, settle_adapt, target_of
from ebm_cli.runs.conditioning import ChainTarget
from ebm_cli.runs.model import Model
from ebm_cli.samplers import Kernel, State, adapt, free_stuck, settle, trace
from ebm_cli.samplers.independence import trace_with_jumps
from ebm_cli.system.threads import set_threads

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
    settle_adapt(cfg, model)
    threads = set_threads(cfg.threads, model.energy)
    kernel, target = kernel_of(cfg, model), target_of(cfg, model)
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
    schedule = annealing_of(cfg, kernel)
    if cfg.adapt:
        return Settled(*adapt(kernel, energy, starts, cfg.burn_in, rng, schedule=schedule), starts)
    kernel, state = settle(kernel, energy, starts, cfg.burn_in, rng, schedule, show)
    freed = free_stuck(kernel, energy, state.x, starts, cfg.burn_in, rng)
    # Those have left their start on a detour only.
    starts = torch.where(freed == state.x, starts, freed)
    return Settled(kernel, state if freed is state.x else freed, starts)
