"""Telescoped noise contrastive estimation of several runs: `methods.bridges` with one more dimension."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ebm_cli.densities import Density
from ebm_cli.derivatives import stacked
from ebm_cli.methods.base import Evaluations
from ebm_cli.methods.bridges import Bridges, waymarks
from ebm_cli.methods.replicated.base import Losses, Replicated
from ebm_cli.methods.replicated.classification import classify_runs


class ReplicatedBridges(Replicated[Bridges]):
    """L_r = 1/m Σ_k E softplus(−h_rk(x_k)) + E softplus(h_rk(x_{k+1}))."""

    @staticmethod
    def refusal(method: Bridges) -> str | None:
        return None

    def losses(self, x: Tensor, rngs: Sequence[torch.Generator]) -> Losses:
        with torch.no_grad():
            given = zip(self.methods, x, rngs, strict=True)
            each = [waymarks(rows, own.noise.sample(len(rows), rng), own.alphas) for own, rows, rng in given]
            marks = [torch.stack(of_runs) for of_runs in zip(*each, strict=True)]
        n, (log_z, *weights) = x.shape[1], self.own
        of_data = self.energy(torch.cat(marks[:2], 1).flatten(0, 1)).view(len(x), -1, n)
        network = self.methods[0].network
        bends = None
        if network is not None:
            found = stacked(network, weights)(torch.cat(marks, 1).flatten(0, 1).flatten(1))
            bends = found.view(len(x), len(marks), n, -1)

        def log_density(k: int, j: int) -> Tensor:
            """Log-density of waymark k at points of waymark j, by the models [R, B]."""
            if k == 0:
                at_data: Tensor = -(of_data[:, j] + log_z.unsqueeze(1))
                return at_data
            densities = self._densities(k)
            values = torch.stack([own.log_prob(at) for own, at in zip(densities, marks[j], strict=True)])
            return values if bends is None or k == len(marks) - 1 else values - bends[:, j, :, k - 1]

        bridges = []
        for k in range(len(marks) - 1):
            near, far = (log_density(k, at) - log_density(k + 1, at) for at in (k, k + 1))
            bridges.append(classify_runs(near, far, 1.0))
        losses = torch.stack([bridge.loss for bridge in bridges])
        metrics = {
            "easiest": losses.detach().amin(0),
            "accuracy": torch.stack([bridge.accuracy for bridge in bridges]).amax(0),
            "log_z": log_z.detach().clone(),
        }
        return Losses.of(losses.mean(0), metrics, Evaluations(energy=2))

    def _densities(self, k: int) -> list[Density]:
        """The density that waymark k ≥ 1 of each run bends, or its noise for the last."""
        first = self.methods[0]
        if k == len(first.alphas) - 1:
            return [method.noise for method in self.methods]
        found = [method.gaussians[k - 1] for method in self.methods]
        return [density for density in found if isinstance(density, Density)]
