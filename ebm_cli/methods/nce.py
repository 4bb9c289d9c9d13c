"""Noise contrastive estimation: learn the density by telling data from noise of known density.

The log-odds of the classifier contain the energy and a trained log Z (see `logistic_loss`); no chain is run and no
derivative in x is taken. It works if the noise covers the data and is hard to tell from them. Source: Gutmann &
Hyvärinen (2012), JMLR 13.
"""

import math

import torch
from torch import Tensor, nn

from ebm_cli.densities import Density
from ebm_cli.energies import Energy
from ebm_cli.methods.base import Evaluations, LossOutput, Method, Symptom
from ebm_cli.methods.fit_density import fit_density
from ebm_cli.methods.logistic_loss import EXPLODED_ENERGIES, balanced_log_z, classify

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
        redraw: fresh noise in every step, which is closer to E_q; otherwise the same sample in all steps, which the
            theory of the estimator assumes (Theorem 3).

    Shapes: x [B, *D].
    Raises: ValueError if a number is out of range.
    Cost: 1 + ν energies a data row, in one forward pass.
    """

    noise_seed: Tensor

    def __init__(
        self, noise: Density, nu: float = 1.0, log_z: float = 0.0, fit_steps: int = 2000, redraw: bool = True
    ) -> None:
        super().__init__()
        if nu <= 0:
            raise ValueError(f"nu must be > 0, got {nu}")
        if fit_steps < 0:
            raise ValueError(f"fit_steps must be >= 0, got {fit_steps}")
        self.noise = noise
        self.nu = nu
        self.fit_steps = fit_steps
        self.redraw = redraw
        self.log_z = nn.Parameter(torch.tensor(float(log_z)))
        # Seed of the sample that is kept: it is drawn again on resume, whatever the batch size and nu.
        self.register_buffer("noise_seed", torch.tensor(0), persistent=not redraw)

    def prepare(self, data: Tensor, rng: torch.Generator) -> None:
        fit_density(self.noise, data, self.fit_steps, rng)
        if not self.redraw:
            self.noise_seed.random_(generator=rng)

    @torch.no_grad()
    def calibrate(self, energy: Energy, data: Tensor, rng: torch.Generator) -> None:
        """Set log Z to the minimum of the loss for this energy."""
        n_noise = max(1, round(self.nu * len(data)))
        y, log_q = self.noise.sample_with_log_prob(n_noise, rng)
        log_nu = math.log(n_noise / len(data))
        h_data, h_noise = -energy(data) - self.noise.log_prob(data) - log_nu, -energy(y) - log_q - log_nu
        self.log_z.copy_(balanced_log_z(h_data, h_noise, n_noise / len(data)))

    def players(self, energy: Energy) -> dict[str, list[nn.Parameter]]:
        return {"energy": [*energy.parameters(), self.log_z]}

    def symptoms(self) -> tuple[Symptom, ...]:
        return EXPLODED_ENERGIES, SATURATED

    def learned_log_z(self) -> Tensor:
        return self.log_z

    def densities(self) -> dict[str, Density]:
        # One without parameters is compared as the Gaussian fitted to the data, or is far from them on purpose.
        return {"noise": self.noise} if any(True for _ in self.noise.parameters()) else {}

    def proposal(self) -> Density:
        return self.noise

    def loss(self, energy: Energy, x: Tensor, rng: torch.Generator) -> LossOutput:
        n_noise = max(1, round(self.nu * len(x)))
        nu = n_noise / len(x)
        with torch.no_grad():
            noise_rng = rng if self.redraw else torch.Generator(x.device).manual_seed(int(self.noise_seed))
            y, log_q_noise = self.noise.sample_with_log_prob(n_noise, noise_rng)
            log_q = torch.cat((self.noise.log_prob(x), log_q_noise))
        h = -(energy(torch.cat((x, y))) + log_q + self.log_z)
        if nu != 1:
            h = h - math.log(nu)
        h_data, h_noise = h.split((len(x), n_noise))
        loss, accuracy = classify(h_data, h_noise, nu)
        metrics = {"accuracy": accuracy, "log_z": self.log_z.detach().clone()}
        return LossOutput(loss, metrics, evaluations=Evaluations(energy=1 + nu))
