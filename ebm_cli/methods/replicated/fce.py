"""Flow contrastive estimation of several runs that have the same turn: `methods.fce` with one more dimension."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ebm_cli.energies import Energy
from ebm_cli.energies.base import NetworkEnergy
from ebm_cli.methods.base import Evaluations
from ebm_cli.methods.fce import FCE
from ebm_cli.methods.replicated.base import Losses, Replicated
from ebm_cli.methods.replicated.classification import classify_runs
from ebm_cli.methods.replicated.flows import flows_of


class ReplicatedFCE(Replicated[FCE]):
    """L_r = −V_r of runs whose energy learns, L_r = V_r of runs whose flow does."""

    def __init__(
        self, methods: Sequence[FCE], energies: Sequence[Energy], energy: NetworkEnergy, own: Sequence[Tensor]
    ) -> None:
        super().__init__(methods, energies, energy, own)
        self._log_z, *weights = own
        self._flows = flows_of([method.flow for method in methods], weights)

    @staticmethod
    def refusal(method: FCE) -> str | None:
        return None

    @staticmethod
    def begin_step(methods: Sequence[FCE]) -> list[str]:
        return [method.begin_step() for method in methods]

    def losses(self, x: Tensor, rngs: Sequence[torch.Generator]) -> Losses:
        y, log_q_y, log_q_x = self._flows(x, rngs)
        log_q = torch.cat((log_q_x, log_q_y), 1)
        f = self.energy(torch.cat((x, y), 1).flatten(0, 1)).view_as(log_q)
        h_data, h_noise = (-(f + log_q + self._log_z.unsqueeze(1))).chunk(2, 1)
        value, accuracy = classify_runs(h_data, h_noise, 1.0)
        for method, own in zip(self.methods, accuracy, strict=True):
            method.accuracy.lerp_(own, 0.1)
        is_flow_turn = self.methods[0].is_flow_turn
        metrics = {
            "accuracy": accuracy,
            "log_z": self._log_z.detach().clone(),
            "flow_turn": torch.full((len(x),), float(is_flow_turn)),
            "flow_nll": -log_q_x.detach().mean(1),
        }
        return Losses.of(-value if is_flow_turn else value, metrics, Evaluations(energy=2))
