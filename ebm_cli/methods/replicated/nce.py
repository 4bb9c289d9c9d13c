"""Noise contrastive estimation of several runs: `methods.nce` with one more dimension."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ebm_cli.densities import Gaussian
from ebm_cli.energies import Energy
from ebm_cli.energies.base import NetworkEnergy
from ebm_cli.methods.base import Evaluations
from ebm_cli.methods.nce import NCE
from ebm_cli.methods.replicated.base import Losses, Replicated
from ebm_cli.methods.replicated.classification import classify_runs


class ReplicatedNCE(Replicated[NCE]):
    """L_r = E_data softplus(−h_r) + ν E_q softplus(h_r),   h_r = −f_r − log Z_r − log q_r − log ν."""

    def __init__(
        self, methods: Sequence[NCE], energies: Sequence[Energy], energy: NetworkEnergy, own: Sequence[Tensor]
    ) -> None:
        super().__init__(methods, energies, energy, own)
        states = [method.noise.state_dict() for method in methods]
        # Noise that is fitted to the same rows is one density; a flow is trained with the numbers of its run.
        self._has_one_noise = all(torch.equal(state[name], states[0][name]) for state in states for name in state)

    @staticmethod
    def refusal(method: NCE) -> str | None:
        return None

    def losses(self, x: Tensor, rngs: Sequence[torch.Generator]) -> Losses:
        n_data, nu, objective = x.shape[1], self.methods[0].nu, self.methods[0].objective
        n_noise = max(1, round(nu * n_data))
        nu = n_noise / n_data
        if not self.methods[0].redraw:
            rngs = [method.kept_noise(x.device) for method in self.methods]
        with torch.no_grad():
            y, log_q_noise = self._noise(n_noise, rngs)
            points = torch.cat((x, y), 1)
            log_q = torch.cat((self._log_q(x), log_q_noise), 1)
        f = self.energy(points.flatten(0, 1)).view_as(log_q)
        if objective == "ranking":
            loss, metrics = _ranking(-(f + log_q), n_data)
        elif objective == "self_normalised":
            loss, metrics = _self_normalised(f, log_q, self.own[0], n_data)
        else:
            loss, metrics = _logistic(f + log_q, self.own[0], n_data, nu)
        return Losses.of(loss, metrics, Evaluations(energy=1 + nu))

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


def _logistic(f: Tensor, log_z: Tensor, n_data: int, nu: float) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of `logistic_loss` and its metrics [R], from f + log q of rows of data and then of noise."""
    h = -(f + log_z.unsqueeze(1))
    if nu != 1:
        h = h - math.log(nu)
    loss, accuracy = classify_runs(h[:, :n_data], h[:, n_data:], nu)
    return loss, {"accuracy": accuracy, "log_z": log_z.detach().clone()}


def _ranking(s: Tensor, n_data: int) -> tuple[Tensor, dict[str, Tensor]]:
    """`noise_likelihoods.ranking` of each run, from the log-weights of rows of data and then of noise."""
    s_data, s_noise = s[:, :n_data], s[:, n_data:].unflatten(1, (-1, n_data))
    together = torch.cat((s_data.unsqueeze(1), s_noise), 1)
    first = (s_data.detach() > s_noise.detach().amax(1)).to(s.dtype)
    return (together.logsumexp(1) - s_data).mean(1), {"accuracy": first.mean(1)}


def _self_normalised(f: Tensor, log_q: Tensor, log_z: Tensor, n_data: int) -> tuple[Tensor, dict[str, Tensor]]:
    """`noise_likelihoods.self_normalised` of each run."""
    s_noise = -(f + log_q)[:, n_data:]
    loss = f[:, :n_data].mean(1) + log_z + torch.exp(s_noise - log_z.unsqueeze(1)).mean(1) - 1
    weights = s_noise.detach().softmax(1)
    share = 1 / (s_noise.shape[1] * weights.square().sum(1))
    return loss, {"noise_share": share, "log_z": log_z.detach().clone()}
