"""Telescoped noise contrastive estimation: from data to noise over bridges, each of which is hard to tell.

Where noise and data hardly meet, a classifier is right at once and learns no density. Between them lie waymarks, mixed
of a row and a draw of the noise,

    x_k = √(1 − α_k²) x_0 + α_k x_m,     α_0 = 0 < α_1 < … < α_m = 1,

of which neighbours overlap. A classifier of each pair has the log-odds h_k = log p_k/p_{k+1}, and their sum is the
log-density of the data:

    log p/q = Σ_k h_k,     h_k = −f_k − c_k + f_{k+1} + c_{k+1},     f_m = −log q.

f_0 is the energy that is trained, and c_0 its log Z; the energies of the waymarks between, f_1 … f_{m−1}, are those of
a Gaussian fitted to each, bent by the outputs of one small network that is thrown away afterwards. With one bridge
this is nce.

Source: Rhodes, Xu & Gutmann (2020), "Telescoping density-ratio estimation", eq. 3–6.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ebm_cli.densities import Density, Gaussian, Uniform
from ebm_cli.energies import Energy
from ebm_cli.methods.base import Evaluations, LossOutput, Method, Symptom
from ebm_cli.methods.fit_density import fit_density
from ebm_cli.methods.logistic_loss import EXPLODED_ENERGIES, classify

if TYPE_CHECKING:
    from ebm_cli.methods.replicated import Replicated

SATURATED = Symptom(
    "easiest",
    1e-6,
    "the classifier of one bridge makes no error, and learns nothing more",
    "raise method.n_bridges, or lower method.least if it is the bridge next to the data",
    below=True,
    steps=200,
)


def mixing(n_bridges: int, least: float) -> list[float]:
    """α_0 … α_m: 0, then equal ratios from `least` to 1; 0 and 1 for one bridge."""
    return [0.0, *(least ** ((n_bridges - k) / max(1, n_bridges - 1)) for k in range(1, n_bridges)), 1.0]


def waymarks(x: Tensor, y: Tensor, alphas: Sequence[float]) -> list[Tensor]:
    """Mix rows x with as many draws of the noise y, [B, *D] each, by every α: a list of [B, *D]."""
    return [math.sqrt(1 - alpha**2) * x + alpha * y for alpha in alphas]


class Bridges(Method):
    """L = 1/m Σ_k E softplus(−h_k(x_k)) + E softplus(h_k(x_{k+1})).

    Args:
        shape: shape of one point.
        data: rows [N, *shape] in standardised units, to which the Gaussians of the waymarks are fitted.
        noise: q, frozen, positive everywhere; one with parameters (a flow) is first fitted to the data.
        n_bridges: m ≥ 1.
        least: α_1 in (0, 1), the share of noise in the first waymark: about the scale of the finest structure of the
            data over that of the noise.
        width: units of the two hidden layers of the waymarks' network, ≥ 1.
        log_z: initial value of the trained log Z, nats.
        fit_steps: steps of the fit of a noise with parameters, ≥ 0.

    Shapes: x [B, *shape].
    Raises: ValueError if a number is out of range, or the noise ends at a border.
    Cost: 2 energies a data row, however many bridges there are, and the small network at every waymark.
    """

    divided = ()

    def __init__(
        self,
        shape: tuple[int, ...],
        data: Tensor,
        noise: Density,
        n_bridges: int = 4,
        least: float = 0.1,
        width: int = 64,
        log_z: float = 0.0,
        fit_steps: int = 2000,
    ) -> None:
        super().__init__()
        if n_bridges < 1:
            raise ValueError(f"n_bridges must be >= 1, got {n_bridges}")
        if not 0 < least < 1:
            raise ValueError(f"least must be > 0 and < 1, got {least}")
        if width < 1:
            raise ValueError(f"width must be >= 1, got {width}")
        if fit_steps < 0:
            raise ValueError(f"fit_steps must be >= 0, got {fit_steps}")
        if isinstance(noise, Uniform):
            raise ValueError(
                "noise must be positive everywhere: waymarks leave the box of uniform noise, take gaussian"
            )
        self.noise = noise
        self.alphas = mixing(n_bridges, least)
        self.fit_steps = fit_steps
        self.log_z = nn.Parameter(torch.tensor(float(log_z)))
        self.gaussians = nn.ModuleList(Gaussian(data) for _ in self.alphas[1:-1])
        self.network: nn.Sequential | None = None
        if n_bridges > 1:
            last = nn.Linear(width, n_bridges - 1)
            # The waymarks begin as their Gaussians.
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            first, second = nn.Linear(math.prod(shape), width), nn.Linear(width, width)
            self.network = nn.Sequential(first, nn.SiLU(), second, nn.SiLU(), last)

    def prepare(self, data: Tensor, rng: torch.Generator) -> None:
        fit_density(self.noise, data, self.fit_steps, rng)
        with torch.no_grad():
            y = self.noise.sample(len(data), rng)
            between = waymarks(data, y, self.alphas[1:-1])
            for own, x in zip(self.gaussians, between, strict=True):
                own.load_state_dict(Gaussian(x).state_dict())

    def players(self, energy: Energy) -> dict[str, list[nn.Parameter]]:
        of_waymarks = [] if self.network is None else list(self.network.parameters())
        return {"energy": [*energy.parameters(), self.log_z, *of_waymarks]}

    def symptoms(self) -> tuple[Symptom, ...]:
        return EXPLODED_ENERGIES, SATURATED

    def learned_log_z(self, energy: Energy) -> Tensor:
        return self.log_z

    def proposal(self) -> Density:
        return self.noise

    def replicated(self) -> "type[Replicated[Bridges]]":
        # It imports this module.
        from ebm_cli.methods.replicated.bridges import ReplicatedBridges

        return ReplicatedBridges

    def loss(self, energy: Energy, x: Tensor, rng: torch.Generator) -> LossOutput:
        with torch.no_grad():
            marks = waymarks(x, self.noise.sample(len(x), rng), self.alphas)
        own = self._own(energy, marks)
        last = len(marks) - 1
        found = []
        for k in range(last):
            # At both waymarks of the bridge: log-odds of the one nearer to the data.
            h_near, h_far = (own(k, at) - own(k + 1, at) for at in (k, k + 1))
            found.append(classify(h_near, h_far, 1.0))
        losses, accuracy = torch.stack([each.loss for each in found]), torch.stack([each.accuracy for each in found])
        metrics = {
            "easiest": losses.detach().min(),
            "accuracy": accuracy.max(),
            "log_z": self.log_z.detach().clone(),
        }
        return LossOutput(losses.mean(), metrics, evaluations=Evaluations(energy=2))

    def _own(self, energy: Energy, marks: Sequence[Tensor]) -> Callable[[int, int], Tensor]:
        """The function (k, j) → log-density of waymark k at points of waymark j, by the model [B]."""
        n = len(marks[0])
        of_data = energy(torch.cat((marks[0], marks[1]))).split(n)
        bent = None if self.network is None else self.network(torch.cat(list(marks)).flatten(1)).split(n)

        def log_density(k: int, j: int) -> Tensor:
            if k == 0:
                at_data: Tensor = -(of_data[j] + self.log_z)
                return at_data
            if bent is None or k == len(marks) - 1:
                return self.noise.log_prob(marks[j])
            gaussian = self.gaussians[k - 1]
            assert isinstance(gaussian, Density)
            bend: Tensor = bent[j][:, k - 1]
            return gaussian.log_prob(marks[j]) - bend

        return log_density
