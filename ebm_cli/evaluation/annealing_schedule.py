"""The levels and step sizes of an annealing, chosen by a small pilot population.

The pilot moves along the path and is resampled at every level. Its next level is where the conditional effective
sample size (Σ v)²/(n Σ v²) of the incremental weights v falls to a fixed share; √(−log CESS) is a length of the path
that does not depend on its parametrisation, and the levels of the run are spread evenly in it. Step sizes follow the
acceptance rate. The run then uses both as they are: chosen from the chains that they move, they would bias Z.

Source: Zhou, Johansen & Aston (2016), JCGS 25(3), for levels at a constant conditional ESS.
"""

import itertools
import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ebm_cli.densities.base import Density
from ebm_cli.evaluation.annealing_path import AnnealingPath, Points
from ebm_cli.evaluation.importance_weights import effective_size, systematic_indices
from ebm_cli.evaluation.not_integrable import NotIntegrable
from ebm_cli.evaluation.quadrature_grid import OUTER_REACH
from ebm_cli.samplers import EnergyFn, Kernel
from ebm_cli.samplers.mala import MALA
from ebm_cli.samplers.metric import wants_metric

N_TEMPERATURES = 1000
FADE = 0.01
"""h of the path: of 0.03, 0.01, 0.003 and ∞ the best on mixtures in 10 and 50 dimensions (docs/adr/0010)."""
CESS = 0.8  # conditional ESS of the pilot's steps, as a share of its chains
N_PILOT, WARM_UP, MOVES = 256, 50, 5  # the pilot's chains, its moves at the base, and at each level after
ACCEPT = 0.7  # acceptance rate that the pilot seeks where there is a gradient: the weights vary with the energy,
# which forgets faster with shorter steps than the 0.574 that is best for a coordinate (docs/adr/0010)
GAIN = 1.0  # change of log eps for a unit of error in the acceptance rate
MAX_LEVELS = 2000  # of the pilot


@dataclass(frozen=True)
class AnnealingSchedule:
    """The levels and step sizes of an annealing, fixed before it starts.

    Attributes:
        kernel: the transition; its step size is replaced at each level.
        fade: of the path.
        levels: b_0 = 0 … b_T = 1.
        step_sizes: one a level.
        length: of the path, Σ √(−log conditional ESS) over the pilot's steps: the log weights of n well-mixed chains
            vary by about length²/T.
        evaluations: of the energy, by the pilot.
    """

    kernel: Kernel
    fade: float
    levels: tuple[float, ...]
    step_sizes: tuple[float, ...]
    length: float
    evaluations: int


def plan_schedule(
    energy: EnergyFn,
    base: Density,
    *,
    rng: torch.Generator,
    n_temperatures: int = N_TEMPERATURES,
    kernel: Kernel | None = None,
    levels: tuple[float, ...] | None = None,
    fade: float = FADE,
    n_chains: int = N_PILOT,
) -> AnnealingSchedule:
    """Choose levels and step sizes with a pilot population that is resampled at every level.

    The next level is where the conditional ESS, (Σ v)²/(n Σ v²) of the incremental weights v, is 0.8; the levels so
    found are then thinned or refined to n_temperatures, evenly in √(−log CESS). The step size follows the acceptance
    rate. Where one such step leads from the base to the model, the path is the geometric one.

    Args:
        energy: f, [B, *shape] → [B], nats, in standardised units.
        base: q, positive wherever the model has mass: the fitted Gaussian.
        rng: source of every draw, on the base's device.
        n_temperatures: T ≥ 1.
        kernel: with an acceptance test; MALA if None. Its step size is where the adaptation starts.
        levels: b_0 = 0 < … < b_T = 1 instead of adaptive ones; n_temperatures is then not used.
        fade: h > 0 of the path; inf is the geometric one, better where q is close to the model already.
        n_chains: of the pilot, ≥ 10.

    Raises:
        ValueError: a number out of range, a kernel without an acceptance test, a base without a gradient.
        NotIntegrable: f is NaN or −∞ at draws of the base, infinite at all of them, or the chains run away.

    Cost: about 100 + 10 length evaluations with gradient a chain of the pilot (times n_leapfrog for HMC).
    """
    kernel = MALA() if kernel is None else kernel
    target = _required_acceptance(kernel)
    if n_temperatures < 1:
        raise ValueError(f"n_temperatures must be >= 1, got {n_temperatures}")
    if levels is not None and (levels[0] != 0 or levels[-1] != 1 or any(b >= c for b, c in itertools.pairwise(levels))):
        raise ValueError("levels must increase from 0 to 1")
    path, points = start_path(energy, base, fade, kernel, n_chains, rng)
    if levels is None and _is_near(path, points, 1.0):
        # The pilot would step over the wide distributions of the bent path, and the run would walk through them.
        path.fade = math.inf
    pilot = _Pilot(path, points, kernel, target if points.f_grad is None else ACCEPT, rng)
    trace = pilot.run(levels)
    length = trace.lengths[-1]
    if levels is None:
        trace = _spread_evenly(trace, n_temperatures)
    step_sizes = tuple(math.exp(s) for s in trace.log_steps)
    return AnnealingSchedule(kernel, path.fade, tuple(trace.levels), step_sizes, length, path.evaluations)


def start_path(
    energy: EnergyFn, base: Density, fade: float, kernel: Kernel, n: int, rng: torch.Generator
) -> tuple[AnnealingPath, Points]:
    """A path at its first level, and exact draws of the base.

    Raises:
        ValueError: n < 10, or a base without a gradient.
        NotIntegrable: as for `evaluate_start`.
    """
    if n < 10:
        raise ValueError(f"n_chains must be >= 10, got {n}")
    x = base.sample(n, rng).detach()
    with torch.enable_grad():
        if not base.log_prob(x.requires_grad_()).requires_grad:
            raise ValueError(
                f"base {type(base).__name__}: log_prob has no gradient in x; choose a base whose density is positive "
                "and smooth everywhere"
            )
    path = AnnealingPath(energy, base, fade)
    return path, evaluate_start(path, path.to_path(x.detach()), kernel)


def evaluate_start(path: AnnealingPath, x: Tensor, kernel: Kernel) -> Points:
    """The points that a run starts at, with their energies; NotIntegrable unless f is a number or +∞ at each."""
    points = path.evaluate(x, with_grad=kernel.evaluations(1).grad > 0)
    bad = ~(points.f > -math.inf)
    if bad.any():
        where = [round(v, 3) for v in path.from_path(x)[bad][0].flatten()[:4].tolist()]
        raise NotIntegrable(f"the energy is {points.f[bad][0].item()} at u = {where}{'…' if x[0].numel() > 4 else ''}")
    if bool((points.f == math.inf).all()):
        raise NotIntegrable(f"the energy is infinite at all of {len(x)} points that the chains would start at")
    return points


class _Trace(NamedTuple):
    """Levels of a pilot, the length of the path up to each, and the log step size there."""

    levels: list[float]
    lengths: list[float]
    log_steps: list[float]


class _Pilot:
    """A population that moves along the path, with the step size that it has found so far.

    Args:
        path: at its first level.
        points: draws of the base.
        kernel: the transition; its step size is where the adaptation starts.
        target: acceptance rate that the step size is adapted to.
        rng: source of every draw.
    """

    def __init__(
        self, path: AnnealingPath, points: Points, kernel: Kernel, target: float, rng: torch.Generator
    ) -> None:
        self.path, self.points, self.kernel, self.target, self.rng = path, points, kernel, target, rng
        self.log_step = math.log(kernel.step_size)

    def run(self, levels: tuple[float, ...] | None) -> _Trace:
        """Go from the base to the model, by these levels or by ones that keep the conditional ESS.

        Raises:
            NotIntegrable: the chains run away, or MAX_LEVELS do not reach the model.
        """
        path, n = self.path, len(self.points.x)
        self._move(WARM_UP)
        trace = _Trace([0.0], [0.0], [self.log_step])
        while path.level < 1:
            b = _next_level(path, self.points) if levels is None else levels[len(trace.levels)]
            log_v = -path.energy_change(self.points, b)
            cess = effective_size(log_v) / n
            trace.levels.append(b)
            trace.lengths.append(trace.lengths[-1] + math.sqrt(max(-math.log(cess), 0.0)))
            self.points = self.points.take(systematic_indices(log_v, n, self.rng))
            path.level = b
            self._move(MOVES)
            trace.log_steps.append(self.log_step)
            self._require_reach()
            if len(trace.levels) > MAX_LEVELS and levels is None:
                raise NotIntegrable(
                    f"{MAX_LEVELS} levels do not lead from the base to the model: they stop at b = {b:.3g}"
                )
        self._move(WARM_UP)
        self._require_reach()
        return trace

    def _move(self, n_steps: int) -> None:
        for _ in range(n_steps):
            kernel = replace(self.kernel, step_size=math.exp(self.log_step))
            self.points, accept = self.path.move(kernel, self.points, self.rng)
            self.log_step += GAIN * (float(accept.mean()) - self.target)

    def _require_reach(self) -> None:
        if not float(self.points.x.flatten(1).abs().amax(1).median()) < OUTER_REACH:
            raise NotIntegrable(f"exp(-energy) is not integrable: half of the chains run beyond ±{OUTER_REACH:.3g}")


def _required_acceptance(kernel: Kernel) -> float:
    """The kernel's own target acceptance rate; ValueError for a kernel whose weights would be wrong."""
    if kernel.target_accept is None:
        raise ValueError(
            f"kernel {type(kernel).__name__} has no acceptance test, without which annealing weights would be wrong; "
            "choose mala, hmc or metropolis"
        )
    if not kernel.ends_where_last_evaluated:
        raise ValueError(
            f"kernel {type(kernel).__name__} may end a step at another point than the one that it evaluated last, "
            "which annealing reads; choose mala, hmc or metropolis"
        )
    if wants_metric(kernel):
        raise ValueError("kernel.metric must be none, or one that has been measured: annealing measures none")
    if kernel.temperature != 1:
        raise ValueError(f"temperature must be 1, got {kernel.temperature}: the annealing path sets the temperatures")
    return kernel.target_accept


def _spread_evenly(trace: _Trace, n: int) -> _Trace:
    """n steps of equal length along the pilot's path, with interpolated step sizes."""
    even = np.linspace(0, trace.lengths[-1], n + 1)
    log_steps = np.interp(even, trace.lengths, trace.log_steps).tolist()
    levels = [0.0, *np.interp(even, trace.lengths, trace.levels)[1:-1].tolist(), 1.0]
    return _Trace(levels, even.tolist(), log_steps)


def _is_near(path: AnnealingPath, points: Points, b: float) -> bool:
    """True if one step from the present level to b leaves CESS of the chains that have any weight."""
    alive = points.take((points.f < math.inf).nonzero().squeeze(1))
    return effective_size(-path.energy_change(alive, b)) >= CESS * len(alive.x)


def _next_level(path: AnnealingPath, points: Points) -> float:
    """The largest level up to which every level is near.

    Sought from below: a path that is bent may return to an earlier distribution, and the levels between must not be
    stepped over.
    """
    # In logarithms: the first step may have to be very small.
    low, end = math.log(1e-12), math.log(1 - path.level)
    high = low
    while high < end and _is_near(path, points, path.level + math.exp(high)):
        low, high = high, high + math.log(2)
    if high >= end:
        if _is_near(path, points, 1.0):
            return 1.0
        high = end
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if _is_near(path, points, path.level + math.exp(middle)) else (low, middle)
    return path.level + math.exp(low)
