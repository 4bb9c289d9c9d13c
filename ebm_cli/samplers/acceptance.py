"""The Metropolis–Hastings decision, which makes a kernel exact."""

import torch
from torch import Tensor

from ebm_cli.samplers.base import Info, State, energy_of, grad_of, select_chains, uniform_like


def accept_reject(state: State, proposal: State, log_ratio: Tensor, rng: torch.Generator) -> tuple[State, Info]:
    """Move each chain to its proposal with probability min(1, exp(log_ratio)).

    A proposal whose energy or gradient is not finite has probability 0: the overflow of a step that is too long is a
    rejection, which detailed balance allows, and does not end the chain.

    Source: Hastings (1970), Biometrika 57(1).

    Shapes: log_ratio [B].
    """
    accept = (log_ratio + _zero_if_finite(proposal)).clamp_(max=0.0).exp_().nan_to_num_(0.0)
    uniform = uniform_like(accept, rng)
    moves = uniform < accept
    x = select_chains(moves, proposal.x, state.x)
    energy = select_chains(moves, energy_of(proposal), energy_of(state))
    grad = None if proposal.grad is None else select_chains(moves, proposal.grad, grad_of(state))
    return State(x, energy, grad, {}), Info(accept)


def _zero_if_finite(state: State) -> Tensor:
    """0 for a chain with a finite energy and gradient, NaN for others [B]: the sum of both, minus itself.

    torch.isfinite on both takes three times as many kernels, a noticeable cost in short chains on small networks.
    """
    energy = energy_of(state)
    total = energy if state.grad is None else energy + state.grad.flatten(1).sum(1)
    return total - total
