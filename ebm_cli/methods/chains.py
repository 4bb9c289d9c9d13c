"""The chains of one training step of cd: how they run from their starts, and what goes back into the replay buffer.

They jump to draws of the density that the energy bends, if that is asked for, and take k steps of the kernel. Weighted
ones (`jarzynski`) are weighed for the present energy first, and tempered ones continue with their hot replicas.
"""

from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from ebm_cli.densities import Density
from ebm_cli.energies import Energy, evaluating
from ebm_cli.methods import jarzynski
from ebm_cli.methods.hot_replicas import HotReplicas
from ebm_cli.methods.jarzynski import Walkers
from ebm_cli.methods.replay_buffer import ReplayBuffer, Starts
from ebm_cli.methods.resampling import Pool
from ebm_cli.samplers import Info, Kernel, State, Tempering, replace_diverged, run, select_chains
from ebm_cli.samplers.independence import jump
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from ebm_cli.samplers.metric import wants_metric
from ebm_cli.samplers.tempering import X as REPLICAS


class Course(NamedTuple):
    """The way of the chains of a step from their starts to their ends.

    Attributes:
        kernel: their transition.
        k: its steps, ≥ 1.
        jumps: proposals from the density that the energy bends, ≥ 0, before the steps; none where it bends none.
        noise: density of the points that replace those of diverged chains.
    """

    kernel: Kernel
    k: int
    jumps: int
    noise: Density


class Chains(NamedTuple):
    """Chains of one training step.

    Attributes:
        end: where they ended [B, *D]; noise for those that diverged.
        finite: which have not diverged [B].
        age: steps that each has behind it [B].
        rows: their rows of the replay buffer [B]; None without a buffer.
        info: diagnostics, averaged over the steps.
        jumps: acceptance of the jumps, averaged over them []; None without any.
        walkers: the same with weights, which the replaced ones have lost; None without weights.
        pool: these weights beside those of the other processes, once they are told; None without weights.
        new: fresh walkers, those of the replaced ones among them; None without weights.
        replicas: of tempered chains, where all replicas ended [R, B, *D]; None of others.
    """

    end: Tensor
    finite: Tensor
    age: Tensor
    rows: Tensor | None
    info: Info
    jumps: Tensor | None
    walkers: Walkers | None = None
    pool: Pool | None = None
    new: Walkers | None = None
    replicas: Tensor | None = None


def require_companions(
    shape: tuple[int, ...], sampler: Kernel, start: str, kl: float, weights: str, witnesses: int
) -> None:
    """Refuse a sampler that cannot make the chains of cd, and weights for chains that cannot have any.

    Args:
        shape: of one point.
        sampler: transition of the chains.
        start, kl, weights, witnesses: as `CD` takes them.

    Raises:
        ValueError: the message begins with the name of the argument.
    """
    if kl and not isinstance(sampler, Langevin | MALA):
        raise ValueError(f"kl must be 0 with {type(sampler).__name__}: it needs a step of langevin or mala")
    if witnesses < 0 or (witnesses and weights == "none"):
        raise ValueError(f"witnesses must be >= 0, and 0 without weights=jarzynski, got {witnesses}")
    if weights != "none":
        if start != "persistent" or kl:
            raise ValueError("weights must be none unless start=persistent (method=pcd) and kl=0")
        jarzynski.require_weighable(sampler)
    if (reason := sampler.why_not(prod(shape))) is not None:
        raise ValueError(f"sampler: {reason}")
    if wants_metric(sampler):
        raise ValueError("sampler.metric must be none with cd and pcd, whose chains have no burn-in")


def run_chains(course: Course, energy: Energy, starts: Starts, hot: HotReplicas | None, rng: torch.Generator) -> Chains:
    """Jump and take the steps; chains that diverge are replaced by noise.

    Args:
        course: their kernel, steps and jumps.
        energy: whose chains they are.
        starts: where they begin, with weights if they have any.
        hot: replicas of tempered chains that continue; None of others.
        rng: source of every draw.
    """
    if starts.log_weight is not None and starts.energy is not None:
        return _run_walkers(course, energy, starts, Walkers(starts.x, starts.log_weight, starts.energy), rng)
    kernel = course.kernel
    with evaluating(energy):
        at, accepted = _jumped(course, energy, starts.x, rng)
        begin: Tensor | State = at
        if hot is not None and isinstance(kernel, Tempering):
            begin = hot.start(kernel, energy, starts, at, rng)
        state, info = run(kernel, energy, begin, course.k, rng)
    chains = ended(course, starts, state.x.detach(), info, rng)
    return chains._replace(jumps=accepted, replicas=state.aux.get(REPLICAS))


def ended(course: Course, starts: Starts, x: Tensor, info: Info, rng: torch.Generator) -> Chains:
    """The chains that ended at x [B, *D] after their steps; those that have diverged are replaced by noise."""
    end, finite = replace_diverged(x, course.noise.sample(len(x), rng))
    return Chains(end, finite, starts.age + course.k, starts.rows, info, None)


def _run_walkers(course: Course, energy: Energy, starts: Starts, walkers: Walkers, rng: torch.Generator) -> Chains:
    """The same of chains with weights: one that has diverged loses its weight, and a new one is put there."""
    kernel, k = course.kernel, course.k
    with evaluating(energy):
        walkers = jarzynski.reweighted(energy, walkers, kernel.temperature)
        at, accepted = _jumped(course, energy, walkers.x, rng)
        walkers, info = jarzynski.moved(kernel, energy, walkers._replace(x=at), k, rng)
    new = jarzynski.fresh(course.noise, len(at), rng)
    walkers, finite = jarzynski.without_lost(walkers)
    end = select_chains(finite, walkers.x, new.x)
    at_end = walkers._replace(x=end)
    return Chains(end, finite, starts.age + k, starts.rows, info, accepted, walkers=at_end, new=new)


def _jumped(course: Course, energy: Energy, x: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor | None]:
    """Positions after the jumps, and the acceptance of these."""
    if not course.jumps or energy.reference is None:
        return x, None
    accepted = []
    for _ in range(course.jumps):
        x, accept = jump(energy, energy.reference, x, rng, course.kernel.temperature)
        accepted.append(accept.mean())
    return x, torch.stack(accepted).mean()


def store(chains: Chains, buffer: ReplayBuffer) -> None:
    """Put the chains back into the rows of the buffer that they come from, with weights after resampling by them."""
    assert chains.rows is not None
    age = torch.where(chains.finite, chains.age, 0)
    if chains.walkers is None or chains.new is None or chains.pool is None:
        buffer.write(chains.rows, chains.end, age)
        return
    survivors = chains.pool.survivors()
    x, age, energy, is_sound = survivors.take(chains.end, age, chains.walkers.energy, chains.finite)
    buffer.write(
        chains.rows,
        select_chains(is_sound, x, chains.new.x),
        age,
        torch.where(is_sound, survivors.log_weight, chains.new.log_weight),
        torch.where(is_sound, energy, chains.new.energy),
    )
