"""Noise contrastive estimation of several runs: `methods.nce` with one more dimension."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ebm_cli.densities import Gaussian
from ebm_cli.energies.base import NetworkEnergy
from ebm_cli.methods.base import Evaluations
from ebm_cli.methods.nce import NCE
from ebm_cli.methods.replicated.base import Losses, Replicated


class ReplicatedNCE(Replicated[NCE]):
    """L_r = E_data softplus(−h_r) + ν E_q softplus(h_r),   h_r = −f_r − log Z_r − log q_r − log ν."""

    def __init__(self, methods: Sequence[NCE], energy: NetworkEnergy, own: Sequence[Tensor]) -> None:
        super().__init__(methods, energy, own)
        states = [method.noise.state_dict() for method in methods]
        # Noise that is fitted to the same rows is one density; a flow is trained with the numbers of its run.
        self._has_one_noise = all(torch.equal(state[name], states[0][name]) for state in states for name in state)

    @staticmethod
    def refusal(method: NCE) -> str | None:
        if method.objective != "logistic":
            return f"method.objective={method.objective}"
        return None if method.redraw else "method.redraw=false"

    def losses(self, x: Tensor, rngs: Sequence[torch.Generator]) -> Losses:
        n_data, nu = x.shape[1], self.methods[0].nu
        n_noise = max(1, round(nu * n_data))
        nu = n_noise / n_data
        with torch.no_grad():
            y, log_q_noise = self._noise(n_noise, rngs)
            points = torch.cat((x, y), 1)
            log_q = torch.cat((self._log_q(x), log_q_noise), 1)
        f = self.energy(points.flatten(0, 1)).view_as(log_q)
        (log_z,) = self.own
        h = -(f + log_q + log_z.unsqueeze(1))
        if nu != 1:
            h = h - math.log(nu)
        h_data, h_noise = h.split((n_data, n_noise), 1)
        of_noise = F.softplus(h_noise).mean(1)
        loss = F.softplus(-h_data).mean(1) + (of_noise if nu == 1 else nu * of_noise)
        metrics = {
            "accuracy": _accuracy(h_data.detach(), h_noise.detach(), -math.log(nu)),
            "log_z": log_z.detach().clone(),
        }
        return Losses(loss, metrics, Evaluations(energy=1 + nu))

    def _noise(self, n: int, rngs: Sequence[torch.Generator]) -> tuple[Tensor, Tensor]:
        """Noise [R, n, *shape] by the numbers of each run, with log q [R, n]."""
        noise = self.methods[0].noise
        if self._has_one_noise and type(noise) is Gaussian:
            y, log_q = noise.from_standard(torch.cat([noise.standard(n, rng) for rng in rngs]))
            return y.unflatten(0, (-1, n)), log_q.view(-1, n)
        drawn = [method.noise.sample_with_log_prob(n, rng) for method, rng in zip(self.methods, rngs, strict=True)]
        return torch.stack([y for y, _ in drawn]), torch.stack([log_q for _, log_q in drawn])

    def _log_q(self, x: Tensor) -> Tensor:
        if self._has_one_noise:
            return self.methods[0].noise.log_prob(x.flatten(0, 1)).view(x.shape[:2])
        return torch.stack([method.noise.log_prob(rows) for method, rows in zip(self.methods, x, strict=True)])


def _accuracy(h_data: Tensor, h_noise: Tensor, threshold: float) -> Tensor:
    """The accuracy of the classifiers [R], with both classes weighed alike."""
    dtype = h_data.dtype
    right_data, right_noise = (h_data > threshold).sum(1, dtype=dtype), (h_noise < threshold).sum(1, dtype=dtype)
    return torch.add(right_data * (0.5 / h_data.shape[1]), right_noise, alpha=0.5 / h_noise.shape[1])
