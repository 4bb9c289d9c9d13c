"""The No-U-Turn sampler: Hamiltonian trajectories that end where they would turn back.

From a fresh velocity the trajectory is doubled, forwards or backwards in time by a coin, until the sum of its
velocities has a negative product with the velocity at one of its ends,

    (Σ v − (v_first + v_last)/2) · v_end ≤ 0

or until that holds in one of the subtrees that a doubling consists of. The next position is drawn from all points
z = (x, v) of the trajectory with weights exp(−H(z)/T): within a doubling by its weights, and between the old and the
new half with a preference for the new one, min(1, w_new/w_old). It is exact without a Metropolis test, and its length
needs no choice.

All chains double at once, and each stops for itself: a step lasts as long as its deepest tree. Take few chains. The
checks of the subtrees need the velocity and the sum at one point of each level: at an even leaf n these are kept in the
slot of the number of ones in n/2, and an odd leaf is the end of as many subtrees as n ends in ones.

Sources: Hoffman & Gelman (2014), JMLR 15; weights in place of a slice, and the sum of velocities: Betancourt (2017),
arXiv:1701.02434, appendix A.3–A.4; leaves one after the other: Phan, Pradhan & Jankowiak (2019), arXiv:1912.11554, and
Lao & Dillon (2020), arXiv:2002.01184.
"""

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ebm_cli.derivatives import EnergyFn, value_and_grad
from ebm_cli.samplers.base import Cost, Info, State, energy_of, grad_of, inner, normal_like, select_chains
from ebm_cli.samplers.metric import Preconditioned

MAX_ERROR = 1000.0
"""Error of the energy, in units of T, from which a trajectory has diverged, and ends."""


class Point(NamedTuple):
    """Points of phase space, with what a leapfrog from them needs: x [B, *D], v [B, *D], ∇E [B, *D]."""

    x: Tensor
    v: Tensor
    grad: Tensor


class Chosen(NamedTuple):
    """A point that was drawn from a tree: x [B, *D], energy [B], ∇E [B, *D]."""

    x: Tensor
    energy: Tensor
    grad: Tensor


class Tree(NamedTuple):
    """The trajectory so far, or its new half.

    Attributes:
        first, last: its ends in time; the end of a new half is its `last`.
        total: Σ v [B, *D].
        log_weight: log Σ exp((H_0 − H)/T) [B].
        chosen: drawn from its points.
    """

    first: Point
    last: Point
    total: Tensor
    log_weight: Tensor
    chosen: Chosen


class Tally(NamedTuple):
    """Sums over the leaves of a step: their number, and of min(1, exp((H_0 − H)/T)); both [B]."""

    leaves: Tensor
    accept: Tensor


@dataclass(frozen=True)
class NUTS(Preconditioned):
    """Trajectories doubled until they turn, with a point drawn by weight; leaves exp(−E/T) invariant.

    Args:
        step_size: eps > 0 of the leapfrog, in standardised units, or in those of the metric.
        temperature: T > 0.
        max_depth: doublings of a trajectory, 1 to 20; it has at most 2^max_depth points.
        target_accept: acceptance in (0, 1) that burn-in adapts eps to, a mean over all points of a trajectory; nearer
            to 1 for a target with a narrow neck.
        metric: scales that burn-in measures: none, diagonal or full.

    Raises:
        ValueError: a number is out of range.

    Shapes: x [B, *D]; energy [B], nats.  Cost: a gradient a leaf, which `Info.gradients` counts, and one at the start.
    A step reads some flags of the device: whether a chain still grows.
    """

    step_size: float = 0.1
    max_depth: int = 10
    target_accept: float = 0.85
    ends_where_last_evaluated: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.max_depth <= 20:
            raise ValueError(f"max_depth must be in 1 to 20, got {self.max_depth}")
        if not 0 < self.target_accept < 1:
            raise ValueError(f"target_accept must be in (0, 1), got {self.target_accept}")

    def evaluations(self, n_steps: int) -> Cost:
        """The most that there can be: trees of the full depth."""
        return Cost(grad=n_steps * (2**self.max_depth - 1) + 1)

    def good_accept(self, dimension: int) -> tuple[float, float]:
        """Between 0.6 and 0.95: the acceptance is a mean over all leaves (Hoffman & Gelman 2014, section 4)."""
        return 0.6, max(0.95, 1 - 0.5 * (1 - self.target_accept))

    def init(self, energy: EnergyFn, x: Tensor, rng: torch.Generator) -> State:
        return State(x.detach(), *value_and_grad(energy, x), {})

    def step(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        x, value, grad = state.x, energy_of(state), grad_of(state)
        v = normal_like(x, rng).mul_(sqrt(self.temperature))
        # As many draws whatever the trees: no chain's numbers depend on the others.
        shape = 3, self.max_depth, len(x)
        uniform = torch.rand(shape, generator=rng, dtype=x.dtype, device=x.device)
        end, zero = Point(x, v, grad), torch.zeros_like(value)
        tree, tally = Tree(end, end, v, zero, Chosen(x, value, grad)), Tally(zero, zero)
        grows = torch.ones_like(value, dtype=torch.bool)
        for depth, (coin, pick, swap) in enumerate(uniform.unbind(1)):
            if not bool(grows.any()):
                break
            forwards = coin < 0.5
            start = _select(forwards, tree.last, tree.first)
            eps = _like((2 * forwards.to(x.dtype) - 1) * self.step_size, x)
            half, whole, tally = self._half(energy, (value, v), start, eps, depth, grows, pick, tally)
            tree = _joined(tree, half, whole, whole & forwards, swap)
            grows = whole & ~_turns(tree.total, tree.first.v, tree.last.v)
        accept = tally.accept / tally.leaves.clamp_min(1)
        return State(*tree.chosen, {}), Info(accept, gradients=tally.leaves)

    def _half(
        self,
        energy: EnergyFn,
        origin: tuple[Tensor, Tensor],
        start: Point,
        eps: Tensor,
        depth: int,
        grows: Tensor,
        pick: Tensor,
        tally: Tally,
    ) -> tuple[Tree, Tensor, Tally]:
        """The 2^depth points after `start`, the chains [B] in which they neither turn nor diverge, and the tally.

        Args:
            energy: E.
            origin: energy [B] and velocity [B, *D] at the start of the step, which weights are relative to.
            start: end of the tree that is doubled.
            eps: signed step of each chain, [B, 1, …].
            depth: doublings so far.
            grows: the chains that still grow [B].
            pick: uniform numbers [B] that choose among the points.
            tally: of the step.
        """
        slots: dict[int, tuple[Tensor, Tensor]] = {}
        at, total = start, torch.zeros_like(start.v)
        log_weight = torch.full_like(origin[0], -torch.inf)
        chosen, leaves, accept = Chosen(start.x, origin[0], start.grad), *tally
        for n in range(2**depth):
            moved, value, drop = self._leapfrog(energy, origin, at, eps)
            # False for NaN, too.
            sound = grows & (drop > -MAX_ERROR)
            leaves = leaves + grows
            accept = accept + torch.where(sound, drop.clamp(max=0.0).exp(), 0.0)
            grows, at = sound, _select(sound, moved, at)
            total = torch.where(_like(sound, total), total + at.v, total)
            log_weight = torch.where(sound, torch.logaddexp(log_weight, drop), log_weight)
            # One uniform number chooses at every leaf: what is left of it, stretched to (0, 1), is uniform again.
            share = (drop - log_weight).exp()
            takes = pick < share
            pick = torch.where(sound, torch.where(takes, pick / share, (pick - share) / (1 - share)), pick)
            takes = sound & takes
            chosen = Chosen(*(select_chains(takes, *pair) for pair in zip((at.x, value, at.grad), chosen, strict=True)))
            grows = grows & ~self._subtree_turns(slots, n, total, at.v)
            if n % 8 == 7 and not bool(grows.any()):
                break
        return Tree(start, at, total, log_weight, chosen), grows, Tally(leaves, accept)

    def _leapfrog(
        self, energy: EnergyFn, origin: tuple[Tensor, Tensor], at: Point, eps: Tensor
    ) -> tuple[Point, Tensor, Tensor]:
        """The next point, its energy [B], and (H_0 − H)/T there [B]."""
        v = torch.addcmul(at.v, self.to_unit(at.grad), eps, value=-0.5)
        x = torch.addcmul(at.x, self.to_target(v), eps)
        value, grad = value_and_grad(energy, x)
        v = torch.addcmul(v, self.to_unit(grad), eps, value=-0.5)
        before, start = origin
        # ‖v_0‖² − ‖v‖² as a product: the difference of two numbers of size D loses digits in float32.
        drop = torch.add(before - value, inner(start - v, start + v), alpha=0.5) / self.temperature
        return Point(x, v, grad), value, drop

    @staticmethod
    def _subtree_turns(slots: dict[int, tuple[Tensor, Tensor]], n: int, total: Tensor, v: Tensor) -> Tensor:
        """The chains [B] in which a subtree that ends at leaf n turns; keeps the sums that later leaves need."""
        level = (n // 2).bit_count()
        if n % 2 == 0:
            slots[level] = v, total - v
            return torch.zeros(len(v), dtype=torch.bool, device=v.device)
        ends = (~n & (n + 1)).bit_length() - 1
        found = [_turns(total - before, first, v) for first, before in (slots[level - i] for i in range(ends))]
        return torch.stack(found).any(0)


def _joined(tree: Tree, half: Tree, whole: Tensor, forwards: Tensor, swap: Tensor) -> Tree:
    """The doubled tree, where the new half is whole; its point replaces the old one with min(1, w_new/w_old)."""
    takes = whole & (swap.log() < half.log_weight - tree.log_weight)
    return Tree(
        _select(whole & ~forwards, half.last, tree.first),
        _select(forwards, half.last, tree.last),
        torch.where(_like(whole, tree.total), tree.total + half.total, tree.total),
        torch.where(whole, torch.logaddexp(tree.log_weight, half.log_weight), tree.log_weight),
        Chosen(*(select_chains(takes, *pair) for pair in zip(half.chosen, tree.chosen, strict=True))),
    )


def _turns(total: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """The chains [B] whose trajectory turns back at one of its ends: velocities and their sum [B, *D]."""
    way = total - 0.5 * (first + last)
    return (inner(way, first) <= 0) | (inner(way, last) <= 0)


def _select(mask: Tensor, a: Point, b: Point) -> Point:
    """For each chain its point of a where the mask holds, and of b elsewhere."""
    return Point(*(select_chains(mask, *pair) for pair in zip(a, b, strict=True)))


def _like(mask: Tensor, x: Tensor) -> Tensor:
    """One flag or number a chain [B], shaped to go with points [B, *D]."""
    return mask.view(-1, *(1,) * (x.dim() - 1))
