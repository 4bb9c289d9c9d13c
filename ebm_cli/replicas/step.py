"""One training step of several runs, in place of one step of each."""

from collections.abc import Sequence
from typing import Any

import torch

from ebm_cli.energies.base import NetworkEnergy
from ebm_cli.methods import LossOutput
from ebm_cli.methods.replicated import Replicated
from ebm_cli.optim.clip import clip_
from ebm_cli.optim.fused_adam import step_together
from ebm_cli.replicas.network import StackedEnergy
from ebm_cli.replicas.stack import Stack
from ebm_cli.replicas.support import objective_of
from ebm_cli.training.trainer import Trainer


class JointStep:
    """`Trainer.advance` of several runs whose configs differ in their seeds.

    Batches, random numbers, turns, clipping, optimizers, averages and guards are each run's own. The networks are
    evaluated together, so that products are summed in another order than in a run alone. Runs with another player's
    turn are another group, which is evaluated for itself.

    Args:
        trainers: of the runs. Their parameters are moved into a buffer for each group and player.
    """

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        self._trainers = list(trainers)
        self._players: list[str] = []
        self._groups: list[_Group] = []

    def __call__(self) -> list[LossOutput]:
        """Take one step of every run; returns the loss and metrics of each."""
        trainers = self._trainers
        players = _objective(trainers[0]).begin_step([trainer.method for trainer in trainers])
        if players != self._players:
            self._players = players
            of_player = {player: [r for r, own in enumerate(players) if own == player] for player in players}
            self._groups = [_Group(trainers, rows, player) for player, rows in of_player.items()]
        taken = dict(pair for group in self._groups for pair in group.step())
        found = [taken[r] for r in range(len(trainers))]
        for trainer, out in zip(trainers, found, strict=True):
            trainer.conclude(out)
        return found


def _objective(trainer: Trainer) -> type[Replicated[Any]]:
    found = objective_of(trainer.method)
    assert found is not None
    return found


class _Group:
    """Some of the runs, in which the same player has its turn.

    Args:
        trainers: of all runs.
        members: their numbers.
        player: the name of that player.
    """

    def __init__(self, trainers: Sequence[Trainer], members: Sequence[int], player: str) -> None:
        self._members, self._player = members, player
        self._trainers = trainers = [trainers[r] for r in members]
        first = trainers[0]
        model = first.energy
        assert isinstance(model, NetworkEnergy)
        stacks = {name: Stack([trainer.players[name].flat for trainer in trainers]) for name in first.players}
        self._stack = stacks[player]
        # The step differentiates in the parameters of its player alone.
        leaves = [leaf if name == player else leaf.detach() for name in stacks for leaf in stacks[name].leaves]
        n = len(list(model.parameters()))
        energy = StackedEnergy(model, leaves[:n])
        methods, energies = [trainer.method for trainer in trainers], [trainer.energy for trainer in trainers]
        self._objective = _objective(first)(methods, energies, energy, leaves[n:])

    def step(self) -> list[tuple[int, LossOutput]]:
        """Move the player of every member; returns their numbers, with the loss and metrics of each."""
        trainers = self._trainers
        batches = torch.stack([trainer.batches.next() for trainer in trainers])
        with trainers[0].precision:
            losses = self._objective.losses(batches, [trainer.rng for trainer in trainers])
            self._stack.backward(losses.loss)
            self._update()
        return list(zip(self._members, losses.split(self._player), strict=True))

    def _update(self) -> None:
        """Clip the gradient of each run, and step its optimizer."""
        players = [trainer.players[self._player] for trainer in self._trainers]
        for trainer, player, norm in zip(self._trainers, players, self._stack.norms(), strict=True):
            trainer.grad_norm = norm
            if norm.device.type != "cpu" or not float(norm) + 1e-6 < trainer.max_norm:
                trainer.grad_norm = clip_(player.flat, trainer.max_norm)
        step_together([player.update_values for player in players])
