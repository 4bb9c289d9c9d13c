"""Flow contrastive estimation: noise contrastive estimation whose noise is a flow that learns to be hard.

    min over the flow α, max over the energy θ and log Z of
    V = E_data log[ p_θ/(p_θ + q_α) ] + E_{q_α} log[ q_α/(p_θ + q_α) ]

With a frozen q this is noise contrastive estimation at ν = 1 (the loss here is −V). A step of the flow minimises the
same V with reparameterised samples and the energy's parameters frozen. The better the flow, the closer the noise is to
the data, and the less of it is wasted on points that are easily told from them. Source: Gao, Nijkamp, Kingma, Xu, Dai &
Wu (2020), "Flow contrastive estimation of energy-based models", eq. 9–11 and Algorithm 1.
"""

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from ebm_cli.densities import Density
from ebm_cli.energies import Energy
from ebm_cli.methods.base import Evaluations, LossOutput, Method, Symptom
from ebm_cli.methods.logistic_loss import EXPLODED_ENERGIES, classify

if TYPE_CHECKING:
    from ebm_cli.methods.replicated.fce import ReplicatedFCE

COLLAPSED = Symptom(
    "flow_nll",
    1e5,
    "the flow has collapsed, it gives the data a density of less than exp(-100,000)",
    "lower method.flow_lr, or raise method.threshold",
)


class FCE(Method):
    """L = −V for the player "energy" (f and log Z), L = V for the player "flow"; the accuracy decides whose turn it is.

    Below `threshold` the energy learns alone: it must first tell data from noise. Above it the players alternate,
    because a flow that cannot keep up would otherwise have every turn. The accuracy is a running mean on the device
    and is read once a turn, so that the loop does not wait for it at every step.

    The flow starts as its wide base and is not fitted to the data: an energy that is first compared with a narrow noise
    keeps the mass that it has where neither noise nor data are.

    Args:
        noise: the flow q_α: a density with parameters and reparameterised samples.
        flow_lr: learning rate of the flow, > 0.
        threshold: accuracy in (0.5, 1) above which the flow has every other turn.
        turn_every: steps of a turn, ≥ 1.
        log_z: initial value of the trained log Z, nats.

    Attributes:
        is_flow_turn: whether the present step, or between two steps the last one, is the flow's.

    Shapes: x [B, *D].
    Raises: ValueError if a number is out of range, or the noise has no parameters.
    Cost: 2 energies a data row.
    """

    divided = ("accuracy",)
    has_comparable_loss: ClassVar[bool] = False
    accuracy: Tensor

    def __init__(
        self,
        noise: Density,
        flow_lr: float = 1e-3,
        threshold: float = 0.6,
        turn_every: int = 5,
        log_z: float = 0.0,
    ) -> None:
        super().__init__()
        if not any(True for _ in noise.parameters()):
            raise ValueError(f"noise must be a flow that can be trained, got {type(noise).__name__}")
        if flow_lr <= 0:
            raise ValueError(f"flow_lr must be > 0, got {flow_lr}")
        if not 0.5 < threshold < 1:
            raise ValueError(f"threshold must be in (0.5, 1), got {threshold}")
        if turn_every < 1:
            raise ValueError(f"turn_every must be >= 1, got {turn_every}")
        self.flow = noise
        self.flow_lr = flow_lr
        self.threshold = threshold
        self.turn_every = turn_every
        self.log_z = nn.Parameter(torch.tensor(float(log_z)))
        self.register_buffer("accuracy", torch.tensor(0.5))
        # Kept on the host: reading whose turn it is must not wait for the device.
        self._step = 0
        self.is_flow_turn = False

    def get_extra_state(self) -> dict[str, int | bool]:
        return {"step": self._step, "flow_turn": self.is_flow_turn}

    def set_extra_state(self, state: dict[str, int | bool]) -> None:
        self._step, self.is_flow_turn = int(state["step"]), bool(state["flow_turn"])

    def players(self, energy: Energy) -> dict[str, list[nn.Parameter]]:
        return {"energy": [*energy.parameters(), self.log_z], "flow": list(self.flow.parameters())}

    def learning_rates(self) -> dict[str, float]:
        return {"flow": self.flow_lr}

    def symptoms(self) -> tuple[Symptom, ...]:
        return EXPLODED_ENERGIES, COLLAPSED

    def learned_log_z(self, energy: Energy) -> Tensor:
        return self.log_z

    def densities(self) -> dict[str, Density]:
        return {"flow": self.flow}

    def proposal(self) -> Density:
        return self.flow

    def replicated(self) -> "type[ReplicatedFCE]":
        from ebm_cli.methods.replicated.fce import ReplicatedFCE

        return ReplicatedFCE

    def begin_step(self) -> str:
        """Decide whose turn the step is that begins; returns the player."""
        if self._step % self.turn_every == 0:
            self.is_flow_turn = not self.is_flow_turn and bool(self.ranks.mean(self.accuracy) > self.threshold)
        self._step += 1
        return "flow" if self.is_flow_turn else "energy"

    def loss(self, energy: Energy, x: Tensor, rng: torch.Generator) -> LossOutput:
        player = self.begin_step()
        with torch.set_grad_enabled(self.is_flow_turn):
            y, log_q_y = self.flow.sample_with_log_prob(len(x), rng)
            log_q_x = self.flow.log_prob(x)
        # The loop differentiates in the parameters of this turn's player only; the graph of the other stays intact.
        h = -(energy(torch.cat((x, y))) + torch.cat((log_q_x, log_q_y)) + self.log_z)
        h_data, h_noise = h.chunk(2)
        value, accuracy = classify(h_data, h_noise, 1.0)
        self.accuracy.lerp_(accuracy, 0.1)
        metrics = {
            "accuracy": accuracy,
            "log_z": self.log_z.detach().clone(),
            "flow_turn": torch.tensor(float(self.is_flow_turn)),
            "flow_nll": -log_q_x.detach().mean(),
        }
        return LossOutput(-value if self.is_flow_turn else value, metrics, player, Evaluations(energy=2))
