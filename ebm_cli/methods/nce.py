"""Noise contrastive estimation: learn the density by telling data from noise of known density.

The log-odds of the classifier contain the energy and a trained log Z (see `logistic_loss`); no chain is run and no
derivative in x is taken. It works if the noise covers the data and is hard to tell from them. Source: Gutmann &
Hyvärinen (2012), JMLR 13. The same two samples can also estimate the likelihood itself (see `noise_likelihoods`).
"""

import math
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from ebm_cli.densities import Density
from ebm_cli.energies import Energy
from ebm_cli.energies.values import values
from ebm_cli.methods.base import Evaluations, LossOutput, Method, Symptom
from ebm_cli.methods.fit_density import fit_density
from ebm_cli.methods.logistic_loss import EXPLODED_ENERGIES, balanced_log_z, classify
from ebm_cli.methods.noise_likelihoods import FEW_WEIGHTS, ranking, self_normalised
from ebm_cli.methods.noise_tails import has_light_tails
from ebm_cli.system.chunks import in_chunks

if TYPE_CHECKING:
    from ebm_cli.methods.replicated import Replicated

ROWS = 1024
"""Rows whose energies are taken at once when log Z is fitted."""
Objective = Literal["logistic", "self_normalised", "ranking"]

SATURATED = Symptom(
    "loss",
    1e-6,
    "the classifier is saturated, it tells data from noise without an error and learns nothing more",
    "choose a noise that is closer to the data: noise=gaussian is fitted to them, noise=flow is trained on them",
    below=True,
    steps=200,
)


class NCE(Method):
    """L = E_data softplus(−h) + ν E_q softplus(h),   h = −f − log Z − log q − log ν.

    Args:
        noise: q, frozen; one with parameters (a flow) is first fitted to the data by maximum likelihood.
        nu: ν > 0, rows of noise for each row of data; more noise brings the estimator closer to maximum likelihood.
        log_z: initial value of the trained log Z, nats.
        fit_steps: steps of that fit, ≥ 0; none are taken for a noise without parameters.
        objective: logistic (L as above), self_normalised (the likelihood with an importance estimate of Z, which needs
            a noise with heavier tails than the model), or ranking (the row among ν rows of noise, ν a whole number;
            no log Z is trained).
        redraw: fresh noise in every step, which is closer to E_q; otherwise the same sample in all steps, which the
            theory of the estimator assumes (Theorem 3).

    Shapes: x [B, *D].
    Raises: ValueError if a number is out of range.
    Cost: 1 + ν energies a data row, in one forward pass.
    """

    divided = ()
    noise_seed: Tensor

    def __init__(
        self,
        noise: Density,
        nu: float = 1.0,
        log_z: float = 0.0,
        fit_steps: int = 2000,
        objective: Objective = "logistic",
        redraw: bool = True,
    ) -> None:
        super().__init__()
        if nu <= 0:
            raise ValueError(f"nu must be > 0, got {nu}")
        if fit_steps < 0:
            raise ValueError(f"fit_steps must be >= 0, got {fit_steps}")
        if objective == "ranking" and (nu < 1 or nu != round(nu)):
            raise ValueError(f"nu must be a whole number >= 1 with method.objective=ranking, got {nu}")
        self.noise = noise
        self.nu = nu
        self.fit_steps = fit_steps
        self.redraw = redraw
        self.objective = objective
        self.log_z = nn.Parameter(torch.tensor(float(log_z)), requires_grad=objective != "ranking")
        # Seed of the sample that is kept: it is drawn again on resume, whatever the batch size and nu.
        self.register_buffer("noise_seed", torch.tensor(0), persistent=not redraw)

    def prepare(self, data: Tensor, rng: torch.Generator) -> None:
        fit_density(self.noise, data, self.fit_steps, rng)
        if not self.redraw:
            self.noise_seed.random_(generator=rng)

    def n_values(self, n_rows: int) -> float:
        return (1 + self.nu) * n_rows

    @torch.no_grad()
    def calibrate(self, energy: Energy, data: Tensor, rng: torch.Generator) -> None:
        """Set log Z to the minimum of the loss for this energy."""
        n_noise = max(1, round(self.nu * len(data)))
        y, log_q = self.noise.sample_with_log_prob(n_noise, rng)
        log_nu = math.log(n_noise / len(data))
        f_data, f_noise = in_chunks(energy, data, ROWS), in_chunks(energy, y, ROWS)
        h_data = -f_data - in_chunks(self.noise.log_prob, data, ROWS) - log_nu
        h_noise = -f_noise - log_q - log_nu
        self.log_z.copy_(balanced_log_z(h_data, h_noise, n_noise / len(data)))

    def players(self, energy: Energy) -> dict[str, list[nn.Parameter]]:
        return {"energy": [*energy.parameters(), *([self.log_z] if self.log_z.requires_grad else [])]}

    def symptoms(self) -> tuple[Symptom, ...]:
        return EXPLODED_ENERGIES, FEW_WEIGHTS if self.objective == "self_normalised" else SATURATED

    def remark(self, energy: Energy) -> str | None:
        if self.objective != "self_normalised" or not has_light_tails(self.noise, energy):
            return None
        return (
            "the noise has lighter tails than exp(-f), as the energy is now: the weights exp(-f)/q of "
            "method.objective=self_normalised may have an infinite variance, and log Z may jump; choose a wider noise "
            "(noise.widen=2) or method.objective=logistic, which loses efficiency only"
        )

    def learned_log_z(self, energy: Energy) -> Tensor | None:
        return None if self.objective == "ranking" else self.log_z

    def densities(self) -> dict[str, Density]:
        # One without parameters is compared as the Gaussian fitted to the data, or is far from them on purpose.
        return {"noise": self.noise} if any(True for _ in self.noise.parameters()) else {}

    def proposal(self) -> Density:
        return self.noise

    def replicated(self) -> "type[Replicated[NCE]]":
        # It imports this module.
        from ebm_cli.methods.replicated.nce import ReplicatedNCE

        return ReplicatedNCE

    def loss(self, energy: Energy, x: Tensor, rng: torch.Generator) -> LossOutput:
        n_noise = max(1, round(self.nu * len(x)))
        nu = n_noise / len(x)
        with torch.no_grad():
            noise_rng = rng if self.redraw else self.kept_noise(x.device)
            y, log_q_noise = self.noise.sample_with_log_prob(n_noise, noise_rng)
            log_q = torch.cat((self.noise.log_prob(x), log_q_noise))
        f = values(energy, torch.cat((x, y)))
        if self.objective != "logistic":
            return self._likelihood(f, log_q, len(x))
        h = -(f + log_q + self.log_z)
        if nu != 1:
            h = h - math.log(nu)
        h_data, h_noise = h.split((len(x), n_noise))
        loss, accuracy = classify(h_data, h_noise, nu)
        metrics = {"accuracy": accuracy, "log_z": self.log_z.detach().clone()}
        return LossOutput(loss, metrics, evaluations=Evaluations(energy=1 + nu))

    def kept_noise(self, device: torch.device) -> torch.Generator:
        """A generator of this process's part of the sample that is kept."""
        return torch.Generator(device).manual_seed(int(self.noise_seed) + self.ranks.index)

    def _likelihood(self, f: Tensor, log_q: Tensor, n_data: int) -> LossOutput:
        """The loss of the other objectives, from f and log q of the rows of data and then of noise."""
        cost = Evaluations(energy=len(f) / n_data)
        s = -(f + log_q)
        if self.objective == "ranking":
            loss, accuracy = ranking(s[:n_data], s[n_data:].view(-1, n_data))
            return LossOutput(loss, {"accuracy": accuracy}, evaluations=cost)
        loss, share = self_normalised(f[:n_data], s[n_data:], self.log_z)
        return LossOutput(loss, {"noise_share": share, "log_z": self.log_z.detach().clone()}, evaluations=cost)
