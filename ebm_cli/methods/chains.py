"""The chains of one training step of cd: where they ended, what goes back into the buffer, signs of divergence."""

from typing import NamedTuple

import torch
from torch import Tensor

from ebm_cli.methods.base import Symptom
from ebm_cli.methods.jarzynski import Walkers, resample_if_uneven, without_lost
from ebm_cli.methods.replay_buffer import ReplayBuffer, Starts
from ebm_cli.samplers import Info, select_chains

SYMPTOMS = (
    Symptom(
        "dead_chains",
        0.5,
        "most chains have diverged, their coordinates are not finite",
        "lower sampler.step_size, or choose sampler=mala, which rejects such steps",
        names_step_size=True,
    ),
    Symptom(
        "energy_gap",
        1e6,
        "the energies have exploded, those of data and chains differ by more than a million nats",
        "lower optimizer.lr or sampler.step_size, or raise method.l2 or method.k",
    ),
)
CLAMPED = Symptom(
    "at_clamp",
    0.5,
    "most coordinates of the chains are at their bound sampler.clamp_sample",
    "lower optimizer.lr, or raise energy.base: the energy falls towards the bound",
    steps=100,
)


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
    new: Walkers | None = None
    replicas: Tensor | None = None


def weighted(walkers: Walkers, starts: Starts, k: int, info: Info, jumps: Tensor | None, new: Walkers) -> Chains:
    """Describe the chains that ended as these walkers; one that has diverged loses its weight, and a new one is put
    there.

    Args:
        walkers: after their k steps.
        starts: where they began.
        k: steps.
        info, jumps: their diagnostics.
        new: fresh walkers, one a chain.
    """
    walkers, finite = without_lost(walkers)
    end = select_chains(finite, walkers.x, new.x)
    return Chains(end, finite, starts.age + k, starts.rows, info, jumps, walkers._replace(x=end), new)


def store(chains: Chains, buffer: ReplayBuffer, rng: torch.Generator) -> None:
    """Put the chains back into the rows of the buffer that they come from, with weights after resampling by them."""
    assert chains.rows is not None
    age = torch.where(chains.finite, chains.age, 0)
    if chains.walkers is None or chains.new is None:
        buffer.write(chains.rows, chains.end, age)
        return
    kept, log_weight = resample_if_uneven(chains.walkers.log_weight, rng)
    x, is_sound = chains.end.index_select(0, kept), chains.finite.index_select(0, kept)
    buffer.write(
        chains.rows,
        select_chains(is_sound, x, chains.new.x),
        age.index_select(0, kept),
        torch.where(is_sound, log_weight, chains.new.log_weight),
        torch.where(is_sound, chains.walkers.energy.index_select(0, kept), chains.new.energy),
    )
