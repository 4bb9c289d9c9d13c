"""The flows of several runs: one batch where their layers are affine couplings, else each in turn."""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ebm_cli.densities import CouplingFlow, Density
from ebm_cli.densities.affine_coupling import Coupling
from ebm_cli.derivatives import stacked


class Pass(NamedTuple):
    """Draws of R flows [R, B, *shape], their log-densities [R, B], and those of given points [R, B]."""

    y: Tensor
    log_q_y: Tensor
    log_q_x: Tensor


Flows = Callable[[Tensor, Sequence[torch.Generator]], Pass]
"""Points [R, B, *shape] and the generators of the runs → the pass, with as many draws as points."""


def flows_of(flows: Sequence[Density], weights: Sequence[Tensor]) -> Flows:
    """The flows of R runs, with parameters that are given apart.

    Args:
        flows: of the runs, of one class and with equal settings.
        weights: their parameters, [R, *shape] each, in the order of a flow's own; the draws are differentiable in them.
    """
    own = [flow for flow in flows if type(flow) is CouplingFlow]
    if len(own) == len(flows) and all(isinstance(layer, Coupling) for layer in own[0].couplings):
        return partial(_together, own, _stacked(own[0], weights))
    return partial(_in_turn, [_Single(flow) for flow in flows], list(weights))


def _stacked(flow: CouplingFlow, weights: Sequence[Tensor]) -> CouplingFlow:
    """The flow of points of all runs, R blocks of rows: couplings map rows alike but for their networks."""
    left = iter(weights)
    nets = [layer.net for layer in flow.couplings if isinstance(layer, Coupling)]
    # Taken for copies that are made already.
    instead = {id(net): stacked(net, [next(left) for _ in net.parameters()]) for net in nets}
    return copy.deepcopy(flow, instead)


def _together(flows: Sequence[CouplingFlow], stack: CouplingFlow, x: Tensor, rngs: Sequence[torch.Generator]) -> Pass:
    n_runs, n = x.shape[:2]
    y, log_q_y = stack.from_standard(torch.cat([flow.standard(n, rng) for flow, rng in zip(flows, rngs, strict=True)]))
    log_q_x = stack.log_prob(x.flatten(0, 1))
    return Pass(y.view_as(x), log_q_y.view(n_runs, n), log_q_x.view(n_runs, n))


class _Single(nn.Module):
    """The pass of one flow as a module, whose parameters can be replaced."""

    def __init__(self, flow: Density) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, x: Tensor, rng: torch.Generator) -> Pass:
        return Pass(*self.flow.sample_with_log_prob(len(x), rng), self.flow.log_prob(x))


def _in_turn(flows: Sequence[_Single], weights: Sequence[Tensor], x: Tensor, rngs: Sequence[torch.Generator]) -> Pass:
    names = [name for name, _ in flows[0].named_parameters()]
    of_runs = zip(*(weight.unbind() for weight in weights), strict=True)
    found = [
        functional_call(flow, dict(zip(names, own, strict=True)), (rows, rng))
        for flow, own, rows, rng in zip(flows, of_runs, x, rngs, strict=True)
    ]
    y, log_q_y, log_q_x = (torch.stack(of_pass) for of_pass in zip(*found, strict=True))
    return Pass(y, log_q_y, log_q_x)
