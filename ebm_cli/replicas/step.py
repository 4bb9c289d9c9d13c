"""One training step of several runs, in place of one step of each."""

from collections.abc import Sequence

import torch

from ebm_cli.energies.base import NetworkEnergy
from ebm_cli.methods import LossOutput
from ebm_cli.optim.clip import clip_
from ebm_cli.optim.fused_adam import step_together
from ebm_cli.replicas.network import StackedEnergy
from ebm_cli.replicas.stack import Stack
from ebm_cli.replicas.support import objective_of
from ebm_cli.training.trainer import Trainer


class JointStep:
    """`Trainer.advance` of several runs whose configs differ in their seeds.

    Batches, random numbers, clipping, optimizers, averages and guards are each run's own. The networks are evaluated
    together, so that products are summed in another order than in a run alone.

    Args:
        trainers: of the runs. Their parameters are moved into one buffer.
    """

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        self._trainers = list(trainers)
        first = self._trainers[0]
        model, kind = first.energy, objective_of(first.method)
        assert isinstance(model, NetworkEnergy)
        assert kind is not None
        self._stack = Stack([trainer.players["energy"].flat for trainer in trainers])
        n, leaves = len(list(model.parameters())), self._stack.leaves
        energy = StackedEnergy(model, leaves[:n])
        methods, energies = [trainer.method for trainer in trainers], [trainer.energy for trainer in trainers]
        self._objective = kind(methods, energies, energy, leaves[n:])

    def __call__(self) -> list[LossOutput]:
        """Take one step of every run; returns the loss and metrics of each."""
        trainers = self._trainers
        batches = torch.stack([trainer.batches.next() for trainer in trainers])
        with trainers[0].precision:
            losses = self._objective.losses(batches, [trainer.rng for trainer in trainers])
            self._stack.backward(losses.loss)
            self._update()
        found = losses.split()
        for trainer, out in zip(trainers, found, strict=True):
            trainer.conclude(out)
        return found

    def _update(self) -> None:
        """Clip the gradient of each run, and step its optimizer."""
        for trainer, norm in zip(self._trainers, self._stack.norms(), strict=True):
            trainer.grad_norm = norm
            if norm.device.type != "cpu" or not float(norm) + 1e-6 < trainer.max_norm:
                trainer.grad_norm = clip_(trainer.players["energy"].flat, trainer.max_norm)
        step_together([trainer.players["energy"].update_values for trainer in self._trainers])
