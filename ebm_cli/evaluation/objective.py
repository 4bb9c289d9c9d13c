"""The training objective of a method on rows that it was not trained on."""

import copy

import torch
from torch import Tensor

from ebm_cli.energies import Energy
from ebm_cli.methods import Method
from ebm_cli.system.ranks import ONE

SECOND_ORDER_ROWS = 256
"""Rows in one call of a loss with second derivatives."""


def objective(energy: Energy, method: Method, rows: Tensor, rng: torch.Generator) -> float:
    """The method's mean loss on rows [N, *D].

    It is taken of a copy of the method, in this process alone: a loss may count its steps, or write to a buffer.
    """
    method, total = copy.deepcopy(method), torch.zeros((), dtype=torch.float64)
    method.ranks = ONE
    for part in torch.split(rows, SECOND_ORDER_ROWS):
        total += method.loss(energy, part, rng).loss.detach().cpu().double() * len(part)
    return float(total / len(rows))
