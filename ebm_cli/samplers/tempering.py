"""Parallel tempering: replicas of a chain at rising temperatures exchange their positions, so that modes are crossed.

Replica r has the target exp(−β_r E/T) with 1 = β_1 > … > β_R > 0. A hot one, with a small β, crosses barriers that the
cold one never climbs. After some steps of a kernel in each replica, neighbours i and j propose to exchange their
positions, and do so with probability

    min(1, exp((β_i − β_j)(E(x_i) − E(x_j))/T)),

which leaves the product of the targets invariant, and so the distribution of the cold replica. Pairs (1, 2), (3, 4), …
are tested in one round and (2, 3), (4, 5), … in the next, not half of them by lot: a position then travels through
the ladder in one direction until it is refused, and needs a number of rounds for it that grows as R and not as R².

A replica is the cold problem in other units: with x = z/√β, the energy of z is β E(z/√β), whose quadratic wells are
those of E. So one step size, in units of z, suits every replica, and any kernel moves all of them as one batch.

Sources: Swendsen & Wang (1986), Phys. Rev. Lett. 57; Geyer (1991), Computing Science and Statistics 23; alternate pairs
and the ladder of equal rejections: Okabe et al. (2001), Chem. Phys. Lett. 335, and Syed, Bouchard-Côté, Deligiannidis &
Doucet (2022), "Non-reversible parallel tempering", JRSS B 84(2), sections 3 to 5.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import ClassVar, Self

import torch
from torch import Tensor

from ebm_cli.derivatives import EnergyFn
from ebm_cli.samplers.base import Cost, Info, Kernel, State, select_chains
from ebm_cli.samplers.ladder import equal_rejections, geometric_ladder, require_ladder
from ebm_cli.samplers.mala import MALA
from ebm_cli.samplers.metric import wants_metric
from ebm_cli.samplers.replicas import Replicas

X, ENERGY, GRAD, CAME_FROM, INNER = "x", "energy", "grad", "came_from", "kernel/"
"""Names in `state.aux`: of all replicas, the end of the ladder that each comes from, and the kernel's own tensors."""
NEW, FROM_COLD, FROM_HOT = 0, 1, 2
"""The end of the ladder that a position comes from: neither yet, the cold one, or the hot one after the cold."""


@dataclass(frozen=True)
class Tempering(Kernel):
    """Replica exchange over any kernel: n_moves steps of every replica, then two rounds of exchanges.

    `state.x` is the cold replica, whose target is exp(−E/T); the others are in `state.aux`, positions [R, B, *D] of all
    with their energies and gradients. A chain is the whole ladder: loops continue it from its state. It is as exact as
    the kernel. With one that has no Metropolis test, exchanges mix biases of different temperatures.

    Args:
        step_size: that of the kernel, in its units, at every temperature, > 0.
        temperature: T > 0 of the cold replica.
        kernel: the transition of every replica; step size and temperature are those given here.
        n_replicas: R ≥ 2; about twice the sum of the rejection rates of the exchanges is best.
        hottest: 1/β_R > 1, in units of T; about the height of the barriers, in nats, or somewhat more.
        n_moves: steps of the kernel between exchanges, ≥ 1.
        ladder: inverse temperatures from 1 down, in place of n_replicas and hottest; None is a geometric ladder.
        tune: if burn-in spaces the inverse temperatures to equal exchange rates.

    Raises:
        ValueError: a number is out of range.

    Shapes: x [B, *D].  Cost: R n_moves steps of the kernel, and R energies if it caches none.
    """

    step_size: float = 0.05
    kernel: Kernel = field(default_factory=MALA)
    n_replicas: int = 6
    hottest: float = 20.0
    n_moves: int = 1
    ladder: tuple[float, ...] | None = None
    tune: bool = True
    has_ladder: ClassVar[bool] = True
    ends_where_last_evaluated: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if wants_metric(self.kernel):
            raise ValueError("kernel.metric must be none: burn-in measures no metric of replicas")
        if self.kernel.has_ladder:
            raise ValueError("kernel must be a sampler of one temperature, got Tempering")
        if self.n_replicas < 2:
            raise ValueError(f"n_replicas must be >= 2, got {self.n_replicas}")
        if not 1 < self.hottest < inf:
            raise ValueError(f"hottest must be > 1 and finite, got {self.hottest}")
        if self.n_moves < 1:
            raise ValueError(f"n_moves must be >= 1, got {self.n_moves}")
        if self.ladder is not None:
            require_ladder(self.ladder)

    @cached_property
    def betas(self) -> tuple[float, ...]:
        """Inverse temperatures β_1 = 1 > … > β_R > 0, in units of 1/T."""
        return tuple(self.ladder) if self.ladder is not None else geometric_ladder(self.n_replicas, self.hottest)

    @cached_property
    def inner(self) -> Kernel:
        """The kernel with the step size and the temperature of this one."""
        return replace(self.kernel, step_size=self.step_size, temperature=self.temperature)

    @property
    def target_accept(self) -> float | None:
        """Taken from the kernel."""
        return self.kernel.target_accept

    @property
    def n_points(self) -> int:
        return len(self.betas)

    def why_not(self, dimension: int) -> str | None:
        """Taken from the kernel."""
        return self.kernel.why_not(dimension)

    def evaluations(self, n_steps: int) -> Cost:
        n, kernel = n_steps * self.n_moves, self.inner
        cost = kernel.evaluations(n)
        # A kernel that evaluates nothing at its start caches no energy, which the exchanges then ask for.
        has_energy = 2 * sum(kernel.evaluations(1)) > sum(kernel.evaluations(2))
        r, asked = len(self.betas), 0 if has_energy else n_steps
        return Cost(energy=r * (cost.energy + asked), grad=r * cost.grad)

    def good_accept(self, dimension: int) -> tuple[float, float]:
        """Taken from the kernel."""
        return self.inner.good_accept(dimension)

    def stationary_variance(self, variance: float) -> float | None:
        """T σ² over an exact kernel; infinite where the kernel diverges, else None: exchanges mix its biases."""
        if self.target_accept is not None:
            return self.temperature * variance
        found = self.inner.stationary_variance(variance)
        return found if found == inf else None

    def init(self, energy: EnergyFn, x: Tensor, rng: torch.Generator) -> State:
        """Chains whose replicas all start at x [B, *D]."""
        return self.init_ladder(energy, x.detach().expand(len(self.betas), *x.shape), rng)

    def init_ladder(self, energy: EnergyFn, x: Tensor, rng: torch.Generator) -> State:
        """Chains whose replicas start at x [R, B, *D], the cold one first."""
        x = x.detach()
        replicas = Replicas(energy, x.new_tensor(self.betas), x[0])
        inner = self.inner.init(replicas, x.flatten(0, 1) / replicas.unit, rng)
        value = None if inner.energy is None else inner.energy / replicas.beta
        rows = State(x.flatten(0, 1), value, _times(inner.grad, replicas.unit), inner.aux)
        came_from = torch.full(x.shape[:2], NEW, dtype=torch.int8, device=x.device)
        return _state(rows, came_from)

    def step(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        state, info = self._move(energy, state, rng)
        state, swaps = self._exchange(state, rng)
        state, trips = _travelled(state)
        return state, info._replace(swaps=swaps, round_trips=trips)

    def tuned(self, info: Info) -> Self:
        if info.swaps is None or not self.tune:
            return self
        rejections = (1 - info.swaps.double().mean(0)).tolist()
        return replace(self, ladder=equal_rejections(self.betas, rejections))

    def _move(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        """n_moves steps of the kernel in every replica; the acceptance is the mean over these."""
        old = _rows(state)
        replicas = Replicas(energy, state.x.new_tensor(self.betas), state.x)
        start = old.x / replicas.unit
        inner = State(start, _times(old.energy, replicas.beta), _times(old.grad, 1 / replicas.unit), old.aux)
        total: Info | None = None
        for _ in range(self.n_moves):
            inner, info = self.inner.step(replicas, inner, rng)
            total = info.added_to(total)
        assert total is not None
        # A replica that has not moved keeps its position bit for bit, whatever its units.
        moved = (inner.x != start).flatten(1).any(1)
        x = select_chains(moved, inner.x * replicas.unit, old.x)
        if inner.energy is None or old.energy is None:
            with torch.no_grad():
                value = replicas.value(x)
        else:
            value = select_chains(moved, inner.energy / replicas.beta, old.energy)
        grad = None
        if inner.grad is not None and old.grad is not None:
            grad = select_chains(moved, inner.grad * replicas.unit, old.grad)
        new = _state(State(x, value, grad, inner.aux), state.aux[CAME_FROM])
        by_replica = len(self.betas), len(state.x)
        # A kernel that counts its gradients does so for each replica; those of a chain are those of all.
        gradients = None if total.gradients is None else total.gradients.view(by_replica).sum(0)
        return new, Info(total.accept.view(by_replica).mean(0) / self.n_moves, gradients=gradients)

    def _exchange(self, state: State, rng: torch.Generator) -> tuple[State, Tensor]:
        """Test the pairs (1, 2), (3, 4), …, then (2, 3), …; the state, and the probability of each exchange [B, R − 1].

        A second round needs no evaluation, and each leaves the product of the targets invariant.
        """
        aux, betas = state.aux, state.aux[ENERGY].new_tensor(self.betas) / self.temperature
        shape = len(betas) - 1, len(state.x)
        uniform = torch.rand(shape, generator=rng, dtype=betas.dtype, device=betas.device)
        rates = torch.zeros_like(uniform)
        for first in (0, 1):
            accept = exchange_rates(aux[ENERGY], betas)[first::2]
            rates[first::2] = accept
            exchanged = (uniform[first::2] < accept).long()
            order = torch.arange(len(betas), device=betas.device)[:, None].repeat(1, shape[1])
            order[first:-1:2] += exchanged
            order[first + 1 :: 2] -= exchanged
            moved = {name: _permuted(aux[name], order) for name in (X, ENERGY, GRAD, CAME_FROM) if name in aux}
            aux = aux | moved
        return _cold(aux), rates.T


def exchange_rates(energy: Tensor, betas: Tensor) -> Tensor:
    """Probability min(1, exp((β_i − β_{i+1})(E_i − E_{i+1}))) of the exchange of neighbours.

    One between two energies that are not finite alike is 0; one that would leave the colder replica at an infinite
    energy, too.

    Shapes: energy [R, B], betas [R], in nats and 1/nats → [R − 1, B].
    """
    gap = (betas[:-1] - betas[1:])[:, None] * (energy[:-1] - energy[1:])
    return gap.clamp(max=0.0).exp().nan_to_num(0.0)


def _travelled(state: State) -> tuple[State, Tensor]:
    """Mark the positions at the ends of the ladder; the state, and the round trips that ended here, 0 or 1 [B]."""
    came_from = state.aux[CAME_FROM].clone()
    trips = came_from[0] == FROM_HOT
    came_from[0] = FROM_COLD
    came_from[-1] = came_from[-1].sign() * FROM_HOT
    return state._replace(aux=state.aux | {CAME_FROM: came_from}), trips.to(state.x.dtype)


def _rows(state: State) -> State:
    """The replicas as rows [R B, *D] of a state of the kernel, in the units of E."""
    aux = {name.removeprefix(INNER): value for name, value in state.aux.items() if name.startswith(INNER)}
    energy, grad = (None if name not in state.aux else state.aux[name].flatten(0, 1) for name in (ENERGY, GRAD))
    return State(state.aux[X].flatten(0, 1), energy, grad, aux)


def _state(rows: State, came_from: Tensor) -> State:
    """The state of chains from the rows of their replicas [R B, *D], in the units of E, and their marks [R, B]."""
    found = {X: rows.x, ENERGY: rows.energy, GRAD: rows.grad}
    aux = {name: a.view(*came_from.shape, *a.shape[1:]) for name, a in found.items() if a is not None}
    return _cold(aux | {f"{INNER}{name}": value for name, value in rows.aux.items()} | {CAME_FROM: came_from})


def _cold(aux: dict[str, Tensor]) -> State:
    """The state whose position is the cold replica's."""
    energy, grad = (None if name not in aux else aux[name][0] for name in (ENERGY, GRAD))
    return State(aux[X][0], energy, grad, aux)


def _times(a: Tensor | None, b: Tensor) -> Tensor | None:
    return None if a is None else a * b


def _permuted(a: Tensor, order: Tensor) -> Tensor:
    """a [R, B, …] with its first axis permuted in each chain: order [R, B]."""
    return a.gather(0, order.view(*order.shape, *(1,) * (a.dim() - 2)).expand_as(a))
