"""Contrastive divergence: the likelihood's gradient with the model term estimated by short chains.

    ∇L = E_data[∇f] − E_model[∇f]

The model's rows come from k steps of a Markov chain that targets exp(−f), started at the data (CD-k), at noise, or
where the last step's chains ended (persistent: a replay buffer with occasional restarts). Chains that are too short, or
too coarse, bias the result: with ULA of step ε on N(0, v), CD learns the precision (1 − √(1 − 2ε/v))/ε and not 1/v.
Sources: Hinton (2002); Tieleman (2008), persistent chains; Du & Mordatch (2019), replay buffer and energy
regularisation; Du, Li, Tenenbaum & Mordatch (2021), the divergence of the chain itself (`chain_divergence`).
"""

import math
from dataclasses import replace
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from ebm_cli.densities import Density
from ebm_cli.energies import Energy, evaluating
from ebm_cli.methods.base import Evaluations, LossOutput, Method, Symptom
from ebm_cli.methods.chain_divergence import chain_divergence
from ebm_cli.samplers import Info, Kernel, run
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA

LOST = (
    Symptom(
        "dead_chains",
        0.5,
        "most chains have left the finite numbers",
        "lower sampler.step_size, or take sampler=mala, which refuses such steps",
    ),
    Symptom(
        "energy_gap",
        1e6,
        "the energies have exploded, those of data and chains are a million nats apart",
        "lower optimizer.lr or sampler.step_size, or raise method.l2 or method.k",
    ),
)
CLAMPED = Symptom(
    "at_clamp",
    0.5,
    "most coordinates of the chains lie at sampler.clamp_sample",
    "lower optimizer.lr, or raise energy.base: the energy falls towards the border",
    steps=100,
)
LOOK_EVERY = 5
"""Losses between two looks at the acceptance: a look waits for the device."""
TOO_LOW = 0.5
"""Acceptance, in parts of the kernel's target, below which its steps are shortened."""
HASTE = 5.0


class Chains(NamedTuple):
    """Where a step's chains ended [B, *D], which of them are finite [B], their length [B], their rows of the buffer."""

    end: Tensor
    alive: Tensor
    length: Tensor
    rows: Tensor | None
    info: Info


class CD(Method):
    """L = mean f(x⁺) − mean f(x⁻) + l2 (mean f(x⁺)² + mean f(x⁻)²) + kl KL(chain ‖ model), x⁻ detached.

    With a step that is too long for the energy an exact kernel accepts nothing: chains from data do not move, chains
    from noise stay noise, and the energy runs away from them. So its step is shortened while it accepts less than
    TOO_LOW of its target δ, by ε ← ε exp(c (α − TOO_LOW δ)), and grows back, never above the sampler's own, while it
    accepts more; c = HASTE where it is shortened, since the energy does not wait, and 1 where it grows. A shorter step
    leaves the kernel exact.

    Args:
        shape: shape of one point.
        sampler: the chain's transition; its step size is the largest that is taken.
        noise: where chains from noise start, and where restarted ones do.
        k: steps of a chain, ≥ 1.
        start: data, noise, or persistent.
        buffer_size: chains that the replay buffer holds, ≥ 1 (persistent).
        restart: fraction of the chains taken from the buffer that start anew from noise, in [0, 1] (persistent).
        l2: regularisation of the energies' size, ≥ 0; keeps an unbounded energy from drifting.
        kl: weight of the divergence of the chains from the model, ≥ 0, taken through one Langevin step; with the
            samplers langevin and mala, whose step size that step has.

    Cost: 2 energies a data row, and the chain's evaluations.  Raises: ValueError for a number out of its range.
    """

    comparable: ClassVar[bool] = False
    buffer: Tensor
    age: Tensor
    accepted: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        sampler: Kernel,
        noise: Density,
        k: int = 5,
        start: Literal["data", "noise", "persistent"] = "data",
        buffer_size: int = 10_000,
        restart: float = 0.05,
        l2: float = 0.0,
        kl: float = 0.0,
    ) -> None:
        super().__init__()
        if k < 1:
            raise ValueError(f"k must be >= 1, got {k}")
        if buffer_size < 1:
            raise ValueError(f"buffer_size must be >= 1, got {buffer_size}")
        if not 0 <= restart <= 1:
            raise ValueError(f"restart must be in [0, 1], got {restart}")
        if l2 < 0:
            raise ValueError(f"l2 must be >= 0, got {l2}")
        if not 0 <= kl < float("inf"):
            raise ValueError(f"kl must be >= 0, got {kl}")
        if kl and not isinstance(sampler, Langevin | MALA):
            raise ValueError(f"kl must be 0 with {type(sampler).__name__}: it goes through a step of langevin or mala")
        self.sampler = sampler
        self.noise = noise
        self.k = k
        self.start = start
        self.restart = restart
        self.l2 = l2
        self.kl = kl
        self.register_buffer("accepted", torch.zeros(()))
        # What follows from it is bookkeeping of the host: reading it must not wait for the device.
        self._step = 0
        self._shortened = 1.0
        if start == "persistent":
            self.register_buffer("buffer", torch.zeros(buffer_size, *shape))
            self.register_buffer("age", torch.zeros(buffer_size))

    def get_extra_state(self) -> dict[str, int | float]:
        return {"step": self._step, "shortened": self._shortened}

    def set_extra_state(self, state: dict[str, int | float]) -> None:
        self._step, self._shortened = int(state["step"]), float(state["shortened"])

    @property
    def kernel(self) -> Kernel:
        """The transition of the next chains: the sampler, with the step size that it has by now."""
        if self._shortened == 1:
            return self.sampler
        return replace(self.sampler, step_size=self.sampler.step_size * self._shortened)

    def check(self, energy: Energy, batch_size: int) -> None:
        # Two chains must not be written back to one row.
        if self.start == "persistent" and batch_size > len(self.buffer):
            raise ValueError(f"method.buffer_size must be >= batch_size = {batch_size}, got {len(self.buffer)}")
        if self.kl and batch_size < 2:
            raise ValueError("batch_size must be >= 2 with method.kl: a chain is compared with the others, got 1")

    def prepare(self, data: Tensor, rng: torch.Generator) -> None:
        if self.start == "persistent":
            self.buffer.copy_(self.noise.sample(len(self.buffer), rng))

    def directions(self, energy: Energy) -> int:
        return 0

    def symptoms(self) -> tuple[Symptom, ...]:
        return LOST if self._clamp is None else (*LOST, CLAMPED)

    @property
    def _clamp(self) -> float | None:
        """Where chains are kept; None where they are free."""
        return self.sampler.clamp_sample if isinstance(self.sampler, Langevin) else None

    def players(self, energy: Energy) -> dict[str, list[torch.nn.Parameter]]:
        return {"energy": list(energy.parameters())}

    def negatives(self, energy: Energy, x: Tensor, rng: torch.Generator) -> Tensor:
        return self._chains(energy, x, rng).end

    def replay(self) -> Tensor | None:
        return self.buffer if self.start == "persistent" else None

    def loss(self, energy: Energy, x: Tensor, rng: torch.Generator) -> LossOutput:
        self._adapt()
        kernel = self.kernel
        chains = self._chains(energy, x, rng)
        acceptance = chains.info.accept.mean()
        self.accepted += acceptance
        if chains.rows is not None:
            self.buffer[chains.rows] = chains.end
            self.age[chains.rows] = torch.where(chains.alive, chains.length, 0)
        value = energy(torch.cat((x, chains.end)))
        plus, minus = value[: len(x)], value[len(x) :]
        loss = plus.mean() - minus.mean()
        metrics = {
            "energy_gap": loss.detach(),
            "acceptance": acceptance,
            "step_size": torch.tensor(kernel.step_size),
            "chain_length": chains.length.mean(),
            "dead_chains": 1 - chains.alive.float().mean(),
        }
        if self._clamp is not None:
            metrics["at_clamp"] = (chains.end.abs() >= self._clamp).float().mean()
        if self.l2:
            loss = loss + self.l2 * (plus.square().mean() + minus.square().mean())
        # The first term is the loss; a chain with a correction also evaluates where it starts.
        chain = self.sampler.evaluations(self.k)
        cost = Evaluations(energy=2 + chain.energy, grad=chain.grad)
        if self.kl:
            divergence = chain_divergence(energy, chains.end, kernel.step_size, kernel.temperature, rng)
            loss, metrics["chain_divergence"] = loss + self.kl * divergence, divergence.detach()
            cost = cost._replace(grad=cost.grad + 1, laplacian=1)
        return LossOutput(loss, metrics, evaluations=cost)

    def _adapt(self) -> None:
        """Look at the acceptance of the last LOOK_EVERY losses; shorten the step, or let it grow back."""
        target = self.sampler.target_accept
        if target is not None and self._step and self._step % LOOK_EVERY == 0:
            accepted = float(self.accepted) / LOOK_EVERY
            if math.isfinite(accepted):
                excess = accepted - TOO_LOW * target
                self._shortened = min(1.0, self._shortened * math.exp(HASTE * excess if excess < 0 else excess))
            self.accepted.zero_()
        self._step += 1

    def _chains(self, energy: Energy, x: Tensor, rng: torch.Generator) -> Chains:
        """k steps; a chain that left the finite numbers is replaced by noise."""
        rows, begin, age = self._starts(x, rng)
        with evaluating(energy):
            state, info = run(self.kernel, energy, begin, self.k, rng)
        end = state.x.detach()
        alive = end.flatten(1).isfinite().all(1)
        kept = torch.where(alive.view(-1, *[1] * (end.ndim - 1)), end, self.noise.sample(len(end), rng))
        return Chains(kept, alive, age + self.k, rows, info)

    def _starts(self, x: Tensor, rng: torch.Generator) -> tuple[Tensor | None, Tensor, Tensor]:
        """Rows of the buffer (persistent), where the chains begin, and how many steps they have behind them."""
        fresh = torch.zeros(len(x), dtype=x.dtype, device=x.device)
        if self.start == "data":
            return None, x, fresh
        noise = self.noise.sample(len(x), rng)
        if self.start == "noise":
            return None, noise, fresh
        rows = torch.randperm(len(self.buffer), generator=rng, device=x.device)[: len(x)]
        anew = torch.rand(len(x), generator=rng, device=x.device) < self.restart
        begin = torch.where(anew.view(-1, *[1] * (x.ndim - 1)), noise, self.buffer.index_select(0, rows))
        return rows, begin, torch.where(anew, 0, self.age.index_select(0, rows))
