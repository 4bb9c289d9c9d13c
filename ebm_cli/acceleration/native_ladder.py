"""The ladders of native chains under parallel tempering: what `chains.cpp` needs beside positions and energies."""

import ctypes

import torch
from torch import Tensor

from ebm_cli.samplers import Info, State
from ebm_cli.samplers.tempering import CAME_FROM, ENERGY, GRAD, NEW, Tempering, X


class Ladder:
    """Inverse temperatures, and what is counted on the way of positions through them.

    Args:
        kernel: the tempered kernel.
        x: positions of the chains [B, *D].
        state: of the chains that are continued; None for chains whose replicas all start at x.
    """

    def __init__(self, kernel: Tempering, x: Tensor, state: State | None) -> None:
        self.betas = (ctypes.c_double * len(kernel.betas))(*kernel.betas)
        self.moves = kernel.n_moves
        shape = len(self.betas), len(x)
        self.marks = x.new_full(shape, NEW) if state is None else state.aux[CAME_FROM].to(x.dtype).contiguous()
        self.rates, self.trips = x.new_zeros(shape[0] - 1, shape[1]), x.new_zeros(shape[1])

    def rows(self, x: Tensor) -> Tensor:
        """x [B, *D] for every replica [R, B, *D]."""
        return x.detach().expand(len(self.betas), *x.shape).clone(memory_format=torch.contiguous_format)

    def state(self, x: Tensor, energy: Tensor, grad: Tensor) -> State:
        """The state that the kernel's own `step` would return, from those of the replicas [R, B, …]."""
        aux = {X: x, ENERGY: energy, GRAD: grad, CAME_FROM: self.marks.to(torch.int8)}
        return State(x[0], energy[0], grad[0], aux)

    def info(self, accept: Tensor, n_steps: int) -> Info:
        """Means over n_steps steps; accept [B] is the sum over moves and replicas, too."""
        accept = accept / (len(self.betas) * self.moves)
        return Info(accept, self.rates.T, self.trips).over(n_steps)
