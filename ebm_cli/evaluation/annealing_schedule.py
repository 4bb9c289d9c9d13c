"""Where to stop between the base and the model, and how far to step there: chosen by a small pilot population.

The pilot moves along the path and is resampled at every level. Its next level is where the conditional effective
sample size (Σ v)²/(n Σ v²) of the incremental weights v falls to a fixed share; √(−log CESS) is a length of the path
that does not depend on its parametrisation, and the levels of the run are spread evenly in it. Step sizes follow the
acceptance. The run then uses both as they are: chosen from the chains that they move, they would bias Z.

Source: Zhou, Johansen & Aston (2016), JCGS 25(3), for levels at a constant conditional ESS.
"""

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ebm_cli.densities.base import Density
from ebm_cli.evaluation.annealing_path import Path, Points
from ebm_cli.evaluation.importance_weights import effective, systematic
from ebm_cli.evaluation.quadrature import REACH, NotIntegrable
from ebm_cli.samplers import EnergyFn, Kernel
from ebm_cli.samplers.mala import MALA

N_TEMPERATURES = 1000
FADE = 0.01
"""h of the path: of 0.03, 0.01, 0.003 and ∞ the best on mixtures in 10 and 50 dimensions (docs/adr/0010)."""
CESS = 0.8  # conditional ESS of the pilot's steps, as a share of its chains
N_PILOT, WARM_UP, MOVES = 256, 50, 5  # the pilot's chains, its moves at the base, and at each level after
ACCEPT = 0.7  # the acceptance that the pilot seeks where there is a gradient: what varies in the weights is the energy,
# and it forgets faster with shorter steps than the 0.574 that is best for a coordinate (docs/adr/0010)
GAIN = 1.0  # change of log eps for a unit of error in the acceptance
MAX_LEVELS = 2000  # of the pilot


@dataclass(frozen=True)
class Plan:
    """What a run does, fixed before it starts.

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


def plan(
    energy: EnergyFn,
    base: Density,
    *,
    rng: torch.Generator,
    n_temperatures: int = N_TEMPERATURES,
    kernel: Kernel | None = None,
    levels: tuple[float, ...] | None = None,
    fade: float = FADE,
    n_chains: int = N_PILOT,
) -> Plan:
    """Choose levels and step sizes with a pilot population that is resampled at every level.

    The next level is where the conditional ESS, (Σ v)²/(n Σ v²) of the incremental weights v, is 0.8; the levels so
    found are then thinned or refined to n_temperatures, evenly in √(−log CESS). The step size follows the acceptance.
    Where one such step leads from the base to the model, the path is the geometric one.

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
    target = kernel.target_accept
    if target is None:
        raise ValueError(f"kernel {type(kernel).__name__} has no acceptance test: its weights would be wrong")
    if kernel.temperature != 1:
        raise ValueError(f"temperature must be 1, got {kernel.temperature}: the path has its own")
    if n_temperatures < 1:
        raise ValueError(f"n_temperatures must be >= 1, got {n_temperatures}")
    if levels is not None and (levels[0] != 0 or levels[-1] != 1 or any(b >= c for b, c in itertools.pairwise(levels))):
        raise ValueError("levels must increase from 0 to 1")
    path, points = start(energy, base, fade, kernel, n_chains, rng)
    if levels is None and _near(path, points, 1.0):
        # The pilot would step over the wide distributions of the bent path, and the run would walk through them.
        path.fade = math.inf
    if points.f_grad is not None:
        target = ACCEPT
    log_eps = math.log(kernel.step_size)

    def moves(points: Points, n: int) -> Points:
        nonlocal log_eps
        for _ in range(n):
            points, accept = path.move(replace(kernel, step_size=math.exp(log_eps)), points, rng)
            log_eps += GAIN * (float(accept.mean()) - target)
        return points

    points = moves(points, WARM_UP)
    found, length, log_sizes = [0.0], [0.0], [log_eps]
    while path.level < 1:
        b = _next_level(path, points) if levels is None else levels[len(found)]
        log_v = -path.energy_change(points, b)
        cess = effective(log_v) / n_chains
        found.append(b)
        length.append(length[-1] + math.sqrt(max(-math.log(cess), 0.0)))
        points = points.take(systematic(log_v, n_chains, rng))
        path.level = b
        points = moves(points, MOVES)
        log_sizes.append(log_eps)
        _check_reach(points)
        if len(found) > MAX_LEVELS and levels is None:
            raise NotIntegrable(f"{MAX_LEVELS} levels do not lead from the base to the model: they stop at b = {b:.3g}")
    _check_reach(moves(points, WARM_UP))
    if levels is None:
        even = np.linspace(0, length[-1], n_temperatures + 1)
        log_sizes = np.interp(even, length, log_sizes).tolist()
        found = [0.0, *np.interp(even, length, found)[1:-1].tolist(), 1.0]
    return Plan(kernel, path.fade, tuple(found), tuple(math.exp(s) for s in log_sizes), length[-1], path.evaluations)


def start(
    energy: EnergyFn, base: Density, fade: float, kernel: Kernel, n: int, rng: torch.Generator
) -> tuple[Path, Points]:
    """A path at its first level, and exact draws of the base."""
    if n < 10:
        raise ValueError(f"n_chains must be >= 10, got {n}")
    x = base.sample(n, rng).detach()
    with torch.enable_grad():
        if not base.log_prob(x.requires_grad_()).requires_grad:
            raise ValueError(f"base {type(base).__name__} has no gradient: it must be positive and smooth everywhere")
    path = Path(energy, base, fade)
    return path, evaluated(path, path.inside(x.detach()), kernel)


def evaluated(path: Path, x: Tensor, kernel: Kernel) -> Points:
    """The points that a run starts at, where f must be a number or +∞."""
    points = path.evaluate(x, with_grad=kernel.evaluations(1).grad > 0)
    bad = ~(points.f > -math.inf)
    if bad.any():
        where = [round(v, 3) for v in path.outside(x)[bad][0].flatten()[:4].tolist()]
        raise NotIntegrable(f"the energy is {points.f[bad][0].item()} at u = {where}{'…' if x[0].numel() > 4 else ''}")
    if bool((points.f == math.inf).all()):
        raise NotIntegrable(f"the energy is infinite at all of {len(x)} points that the chains would start at")
    return points


def _near(path: Path, points: Points, b: float) -> bool:
    """Whether one step from the present level to b leaves CESS of the chains that have any weight."""
    alive = points.take((points.f < math.inf).nonzero().squeeze(1))
    return effective(-path.energy_change(alive, b)) >= CESS * len(alive.x)


def _next_level(path: Path, points: Points) -> float:
    """The largest level up to which every one is near.

    From below: a path that is bent may come back to where it was, and what lies between must not be stepped over.
    """
    # In logarithms: the first step may have to be very small.
    low, end = math.log(1e-12), math.log(1 - path.level)
    high = low
    while high < end and _near(path, points, path.level + math.exp(high)):
        low, high = high, high + math.log(2)
    if high >= end:
        if _near(path, points, 1.0):
            return 1.0
        high = end
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if _near(path, points, path.level + math.exp(middle)) else (low, middle)
    return path.level + math.exp(low)


def _check_reach(points: Points) -> None:
    if not float(points.x.flatten(1).abs().amax(1).median()) < REACH:
        raise NotIntegrable(f"exp(-energy) is not integrable: half of the chains run beyond ±{REACH:.3g}")
