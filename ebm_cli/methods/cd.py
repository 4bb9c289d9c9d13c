"""Contrastive divergence: the likelihood's gradient with the model term estimated by short chains.

    ∇L = E_data[∇f] − E_model[∇f]

The model term is an average over the ends of k steps of a Markov chain that targets exp(−f), started at the data
(CD-k), at noise, or where earlier chains ended (persistent, see `replay_buffer`). Chains that are too short or too
coarse bias the result: with ULA of step ε on N(0, v), CD learns the precision (1 − √(1 − 2ε/v))/ε and not 1/v. Where an
energy bends a fitted density, a draw of that density may be proposed to every chain first (`samplers.independence`):
accepted ones are far from the row at which they would have started, and in any mode. Persistent chains that do not
cross between modes lose the masses of these, unless they are weighted (`jarzynski`), or tempered: then they keep all
their replicas from step to step (`hot_replicas`).

How chains of every kind run is in `chains`; their metrics and costs are in `chain_metrics`.

Sources: Hinton (2002); Du & Mordatch (2019), regularisation of the energies; Du, Li, Tenenbaum & Mordatch (2021), the
divergence of the chain itself (`chain_divergence`).
"""

from functools import partial
from math import inf
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from ebm_cli.densities import Density
from ebm_cli.energies import Energy, evaluating
from ebm_cli.methods import jarzynski
from ebm_cli.methods.base import LossOutput, Symptom
from ebm_cli.methods.chain_divergence import chain_divergence
from ebm_cli.methods.chain_metrics import CLAMPED, SYMPTOMS, cost_of, metrics_of
from ebm_cli.methods.chains import Chains, Course, require_companions, run_chains, store
from ebm_cli.methods.hot_replicas import HotReplicas
from ebm_cli.methods.jarzynski import Witnesses
from ebm_cli.methods.of_energies import OfEnergies, Query
from ebm_cli.methods.replay_buffer import ReplayBuffer, Starts
from ebm_cli.methods.resampling import pooled
from ebm_cli.methods.step_backoff import StepBackoff
from ebm_cli.samplers import Kernel, Tempering
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.system.ranks import Ranks

if TYPE_CHECKING:
    from ebm_cli.methods.replicated import Replicated


class CD(OfEnergies):
    """L = mean f(x⁺) − mean f(x⁻) + l2 (mean f(x⁺)² + mean f(x⁻)²) + kl KL(chain ‖ model), x⁻ detached.

    The step of a kernel with a correction is shortened while it accepts too little (see `step_backoff`).

    Args:
        shape: shape of one point.
        sampler: transition of the chains; its step size is the largest that is taken.
        noise: density that chains start or restart from.
        k: steps of a chain, ≥ 1.
        start: data, noise, or persistent.
        buffer_size: chains in the replay buffer, ≥ 1 (persistent).
        restart: fraction of the chains from the buffer that restart from noise, in [0, 1] (persistent).
        l2: weight of the squared energies, ≥ 0; keeps an unbounded energy from drifting.
        kl: weight of the divergence of the chains from the model, ≥ 0, taken through one Langevin step; needs the
            sampler langevin or mala, whose step size that step has.
        jumps: proposals from the density that the energy bends, ≥ 0, before the k steps; none where it bends none.
        weights: none, or jarzynski: chains have weights that undo their lag (persistent), see `jarzynski`.
        witnesses: weighted chains that the gradient does not use and log Z is read from, ≥ 0 (jarzynski).

    Shapes: x [B, *shape].
    Raises: ValueError if a number is out of range, or the sampler's steps have no weight.
    Cost: 2 energies a data row, the evaluations of the chain, and 2 energies a jump; with weights one energy more a
        chain, and one gradient more for Langevin steps.
    """

    divided = (
        *("buffer", "age", "log_weight", "walker_energy", "accepted", "hot.points"),
        *("witnesses.points", "witnesses.log_weight", "witnesses.energy"),
    )
    has_comparable_loss: ClassVar[bool] = False
    buffer: Tensor
    age: Tensor
    accepted: Tensor
    log_weight: Tensor
    walker_energy: Tensor

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
        jumps: int = 0,
        weights: Literal["none", "jarzynski"] = "none",
        witnesses: int = 0,
    ) -> None:
        super().__init__()
        _require_ranges(k, buffer_size, restart, jumps, l2, kl)
        require_companions(shape, sampler, start, kl, weights, witnesses)
        self.sampler = sampler
        self.noise = noise
        self.k = self.n_chain_steps = k
        self.start = start
        self.restart = restart
        self.l2 = l2
        self.kl = kl
        self.jumps = jumps
        self.backoff = StepBackoff(sampler.target_accept)
        self.is_weighted = weights != "none"
        self._make_state(shape, buffer_size)
        self.witnesses = Witnesses(shape, witnesses) if witnesses else None
        n_hot = len(sampler.betas) - 1 if isinstance(sampler, Tempering) and start == "persistent" else 0
        self.hot = HotReplicas(shape, n_hot, buffer_size) if n_hot else None

    def _make_state(self, shape: tuple[int, ...], buffer_size: int) -> None:
        """Register what a checkpoint holds of the chains: acceptance, and the replay buffer of persistent ones."""
        self.register_buffer("accepted", torch.zeros(()))
        if self.start == "persistent":
            self.register_buffer("buffer", torch.zeros(buffer_size, *shape))
            self.register_buffer("age", torch.zeros(buffer_size))
        if self.is_weighted:
            self.register_buffer("log_weight", torch.zeros(buffer_size))
            self.register_buffer("walker_energy", torch.zeros(buffer_size))

    def get_extra_state(self) -> dict[str, int | float]:
        return self.backoff.state_dict()

    def set_extra_state(self, state: dict[str, int | float]) -> None:
        self.backoff.load_state_dict(state)

    @property
    def kernel(self) -> Kernel:
        """Transition of the next chains: the sampler with its present step size."""
        return self.backoff.apply(self.sampler)

    @property
    def course(self) -> Course:
        """Kernel, steps and jumps of the next chains."""
        return Course(self.kernel, self.k, self.jumps, self.noise)

    @property
    def replay_buffer(self) -> ReplayBuffer:
        """The persistent chains."""
        weights = (self.log_weight, self.walker_energy) if self.is_weighted else ()
        return ReplayBuffer(self.buffer, self.age, *weights)

    def validate(self, energy: Energy, batch_size: int) -> None:
        # Two chains must not be written back to one row.
        if self.start == "persistent" and batch_size > len(self.buffer):
            raise ValueError(f"method.buffer_size must be >= batch_size = {batch_size}, got {len(self.buffer)}")
        if self.kl and batch_size < 2:
            raise ValueError("batch_size must be >= 2 with method.kl: a chain is compared with the others, got 1")

    def divide(self, ranks: Ranks) -> None:
        ranks.share(len(self.buffer) if self.start == "persistent" else 0, "method.buffer_size")
        ranks.share(0 if self.witnesses is None else len(self.witnesses.points), "method.witnesses")
        super().divide(ranks)

    def prepare(self, data: Tensor, rng: torch.Generator) -> None:
        if self.start == "persistent":
            self.replay_buffer.fill(self.noise, rng)
        if self.witnesses is not None:
            self.witnesses.fill(self.noise, rng)

    def n_directions(self, energy: Energy) -> int:
        return 0

    def n_values(self, n_rows: int) -> float:
        return 2 * n_rows

    def symptoms(self) -> tuple[Symptom, ...]:
        weighted = (jarzynski.COLLAPSED,) if self.is_weighted else ()
        return (*SYMPTOMS, *weighted) if self._clamp is None else (*SYMPTOMS, CLAMPED)

    @property
    def _clamp(self) -> float | None:
        """Bound of the chains' coordinates; None if they have none."""
        return self.sampler.clamp_sample if isinstance(self.sampler, Langevin) else None

    def players(self, energy: Energy) -> dict[str, list[torch.nn.Parameter]]:
        return {"energy": list(energy.parameters())}

    def negatives(self, energy: Energy, x: Tensor, rng: torch.Generator) -> Tensor:
        chains = self.chains(energy, x, rng)
        if chains.walkers is None:
            return chains.end
        # Points that stand for the model have equal weights.
        [end] = pooled(chains.walkers.log_weight, rng).survivors(below=inf).take(chains.end)
        return end

    def learned_log_z(self, energy: Energy) -> Tensor | None:
        # At another temperature the weights have the integral of exp(-f/T).
        if self.witnesses is None or self.sampler.temperature != 1:
            return None
        return self.witnesses.log_z_of(energy)

    def shorten_steps(self, factor: float) -> bool:
        if self.backoff.target is not None:
            return False
        self.backoff.factor *= factor
        return True

    def persistent_chains(self) -> Tensor | None:
        return self.buffer if self.start == "persistent" else None

    def replicated(self) -> "type[Replicated[CD]]":
        # It imports this module.
        from ebm_cli.methods.replicated.cd import ReplicatedCD

        return ReplicatedCD

    def query(self, energy: Energy, x: Tensor, rng: torch.Generator) -> Query:
        self.adapt()
        return self.query_of(self.chains(energy, x, rng), energy, x, rng)

    def adapt(self) -> None:
        """Begin a step: adapt the step size of its chains if that is due."""
        self.backoff.update(self.accepted, self.ranks)

    def chains(self, energy: Energy, x: Tensor, rng: torch.Generator) -> Chains:
        """Run the chains of a step on the batch x; those that diverge are replaced by noise."""
        return run_chains(self.course, energy, self.starts(x, rng), self.hot, rng)

    def starts(self, x: Tensor, rng: torch.Generator) -> Starts:
        """Draw where the chains of a step begin."""
        new = torch.zeros(len(x), dtype=x.dtype, device=x.device)
        if self.start == "data":
            return Starts(x, new)
        if self.is_weighted:
            new_walkers = jarzynski.fresh(self.noise, len(x), rng)
            return self.replay_buffer.draw(new_walkers.x, self.restart, rng, new_walkers.log_weight)
        noise = self.noise.sample(len(x), rng)
        if self.start == "noise":
            return Starts(noise, new)
        return self.replay_buffer.draw(noise, self.restart, rng)

    def query_of(self, chains: Chains, energy: Energy, x: Tensor, rng: torch.Generator) -> Query:
        """The query of a step whose chains have run; they go back into the buffer."""
        acceptance = chains.info.accept.mean()
        self.accepted += acceptance
        if chains.walkers is not None:
            chains = chains._replace(pool=pooled(chains.walkers.log_weight, rng, self.ranks))
        if chains.rows is not None:
            store(chains, self.replay_buffer)
            if self.hot is not None and chains.replicas is not None:
                self.hot.store(chains.rows, chains.replicas, chains.end)
        return Query(torch.cat((x, chains.end)), partial(self._from_values, chains, acceptance, energy, rng))

    def _from_values(
        self, chains: Chains, acceptance: Tensor, energy: Energy, rng: torch.Generator, value: Tensor
    ) -> LossOutput:
        """The loss from the energies of the rows and of the ends of the chains [2B]."""
        n, course, witnesses = len(chains.end), self.course, self.witnesses
        kernel = course.kernel
        plus, minus = value[:n], value[n:]
        loss = plus.mean() - jarzynski.mean(minus, chains.pool)
        metrics = {"energy_gap": loss.detach(), "step_size": value.new_full((), kernel.step_size)}
        metrics |= metrics_of(chains, None if kernel.target_accept is None else acceptance, self._clamp)
        if witnesses is not None:
            with evaluating(energy):
                metrics["log_z"] = witnesses.advance(kernel, energy, self.k, rng, self.ranks)
        if self.l2:
            loss = loss + self.l2 * (plus.square().mean() + jarzynski.mean(minus.square(), chains.pool))
        cost = cost_of(chains, course, 0 if witnesses is None else len(witnesses.points))
        if self.kl:
            divergence = chain_divergence(energy, chains.end, kernel.step_size, kernel.temperature, rng, self.ranks)
            loss, metrics["chain_divergence"] = loss + self.kl * divergence, divergence.detach()
            cost = cost._replace(grad=cost.grad + 1, laplacian=1)
        return LossOutput(loss, metrics, evaluations=cost)


def _require_ranges(k: int, buffer_size: int, restart: float, jumps: int, l2: float, kl: float) -> None:
    if k < 1:
        raise ValueError(f"k must be >= 1, got {k}")
    if buffer_size < 1:
        raise ValueError(f"buffer_size must be >= 1, got {buffer_size}")
    if not 0 <= restart <= 1:
        raise ValueError(f"restart must be in [0, 1], got {restart}")
    if jumps < 0:
        raise ValueError(f"jumps must be >= 0, got {jumps}")
    if l2 < 0:
        raise ValueError(f"l2 must be >= 0, got {l2}")
    if not 0 <= kl < inf:
        raise ValueError(f"kl must be >= 0, got {kl}")
