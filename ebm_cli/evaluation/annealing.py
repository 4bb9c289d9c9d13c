"""log Z in any dimension: annealed importance sampling, with resampling, along a path from a known density.

Chains start at exact draws of the base q and pass through levels 0 = b_0 < … < b_T = 1 of a path (see `path`): at
each, their weight takes up the change of the energy, and a Markov kernel that leaves p_{b_t} invariant moves them,

    log w ← log w − [E_{b_t}(x) − E_{b_{t−1}}(x)],        x ← K_t(x),        Z = E[w]

for kernels of any mixing. Where the weights' effective sample size falls below three quarters of the chains, systematic
resampling replaces light chains by copies of heavy ones; Z is then the product of the mean weights, and still
unbiased. Levels and step sizes are fixed beforehand, by a small pilot population: chosen from the chains that they
move, they would bias Z.

**The error.** Chains that descend from the same draw of q are a family, and families are as good as independent: the
variance of Z is that of the families' shares of the final weight,

    se² = (n Σ_e S_e² − 1)/(n − 1) · ν/(ν − 2),     S_e = Σ_{i in family e} w_i / Σ_i w_i,     ν = 1/Σ_e S_e² − 1

which without resampling is the usual relative standard error, with the variance of Student's t. ESS = 1/Σ_e S_e². No
error computed from the weights sees a mode that no chain found: the path has to bring chains to every mode (that is
what `path` is made for), and `anneal_back`, from exact samples of the model, bounds log Z from the other side:

    E[log Z_forward] ≤ log Z ≤ E[log Z_back],       1/Z = E[w_back]

Sources: Neal (2001), Stat. Comput. 11; Del Moral, Doucet & Jasra (2006), JRSS B 68(3), for the resampling; Zhou,
Johansen & Aston (2016), JCGS 25(3), for levels at a constant conditional ESS; Lee & Whiteley (2018), Biometrika
105(3), for a variance from families, here without their term for multinomial resampling, which systematic resampling
does not have; Grosse, Ghahramani & Adams (2015), arXiv:1511.02543, for the bound from above.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ebm_cli.densities.base import Density
from ebm_cli.evaluation.partition import REACH, NotIntegrable
from ebm_cli.evaluation.path import Path, Points
from ebm_cli.samplers import EnergyFn, Kernel
from ebm_cli.samplers.mala import MALA

N_CHAINS, N_TEMPERATURES = 1000, 1000
FADE = 0.01
"""h of the path: of 0.03, 0.01, 0.003 and ∞ the best on mixtures in 10 and 50 dimensions (docs/adr/0010)."""
CESS = 0.8  # conditional ESS of the pilot's steps, as a share of its chains
N_PILOT, WARM_UP, MOVES = 256, 50, 5  # the pilot's chains, its moves at the base, and at each level after
ACCEPT = 0.7  # the acceptance that the pilot seeks where there is a gradient: what varies in the weights is the energy,
# and it forgets faster with shorter steps than the 0.574 that is best for a coordinate (docs/adr/0010)
GAIN = 1.0  # change of log eps for a unit of error in the acceptance
MAX_LEVELS = 2000  # of the pilot
THRESHOLD = 0.75  # ESS, as a share of the chains, below which they are resampled
BELIEVABLE = 30.0  # families below which the error itself is a guess


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


@dataclass(frozen=True)
class Annealed:
    """log Z, and how far to believe it.

    Attributes:
        log_z: nats; of `anneal_back` too.
        log_z_se: its standard error; inf where fewer than three families carry the weight.
        ess: how many families carry the weight, 1 … n_chains.
        x: where the chains ended [B, *shape]: weighted draws of the model, of the base for `anneal_back`.
        log_weights: [B] float64 on the CPU; the log of their mean weight is log Z (−log Z for `anneal_back`).
        acceptance: mean over levels and chains.
        evaluations: of the energy (with its gradient, where the kernel uses it), the pilot's included.
        plan: the levels and step sizes.
        warning: one sentence, where the numbers are not to be believed.
    """

    log_z: float
    log_z_se: float
    ess: float
    x: Tensor
    log_weights: Tensor
    acceptance: float
    evaluations: int
    plan: Plan
    warning: str | None


@dataclass(frozen=True)
class Bracket:
    """log Z from both sides.

    Attributes:
        lower, upper: in expectation below and above log Z, nats.
        gap: upper − lower; negative only by chance.
        log_z, log_z_se: both sides weighted by their inverse variances; where they disagree by more than their errors,
            the error is widened to half the gap.
    """

    lower: float
    upper: float
    gap: float
    log_z: float
    log_z_se: float


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

    Cost: 5 moves of the n_chains at about 1 + 5 length²/… levels; a few per cent of the run.
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
    path, points = _start(energy, base, fade, kernel, n_chains, rng)
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
        cess = _ess(log_v) / n_chains
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
    return Plan(kernel, fade, tuple(found), tuple(math.exp(s) for s in log_sizes), length[-1], path.evaluations)


def anneal(
    energy: EnergyFn,
    base: Density,
    *,
    rng: torch.Generator,
    n_chains: int = N_CHAINS,
    n_temperatures: int = N_TEMPERATURES,
    kernel: Kernel | None = None,
    fade: float = FADE,
    along: Plan | None = None,
) -> Annealed:
    """Estimate log ∫ exp(−f(x)) dx by annealing chains from the base to the model.

    Args:
        energy: f, [B, *shape] → [B], nats, in standardised units; +∞ where the model has no mass.
        base: q, positive and differentiable wherever the model has mass: the fitted Gaussian.
        rng: source of every draw, on the base's device.
        n_chains: B ≥ 10.
        n_temperatures, kernel, fade: see `plan`.
        along: a plan made before, in place of a pilot of its own.

    Raises:
        ValueError: a number out of range.
        NotIntegrable: no number for log Z; the message says why.

    Cost: n_chains · n_temperatures evaluations with gradient (times n_leapfrog for HMC), and the pilot.
    """
    if along is None:
        along = plan(energy, base, rng=rng, n_temperatures=n_temperatures, kernel=kernel, fade=fade)
    path, points = _start(energy, base, along.fade, along.kernel, n_chains, rng)
    return _run(path, points, along, along.levels, along.step_sizes, rng, sign=1)


def anneal_back(
    energy: EnergyFn,
    base: Density,
    samples: Tensor | Callable[[int, torch.Generator], Tensor],
    along: Plan,
    *,
    rng: torch.Generator,
    n_chains: int = N_CHAINS,
) -> Annealed:
    """Estimate log Z from above: anneal exact samples of the model back to the base.

    Args:
        energy, base, rng: as for `anneal`.
        samples: independent draws of exp(−f)/Z [B, *shape], or what draws them: (n, rng) → [n, *shape]. Samples of a
            chain that has not forgotten its start make no bound.
        along: the plan of the forward run, `Annealed.plan`.
        n_chains: B ≥ 10, where `samples` is a function.

    Raises:
        ValueError, NotIntegrable: as for `anneal`.

    Cost: one evaluation with gradient a chain and level.
    """
    x = samples if isinstance(samples, Tensor) else samples(n_chains, rng)
    path = Path(energy, base, along.fade)
    path.level = 1.0
    points = _evaluated(path, x.detach(), along.kernel)
    return _run(path, points, replace(along, evaluations=0), along.levels[::-1], along.step_sizes[::-1], rng, sign=-1)


def bracket(forward: Annealed, back: Annealed) -> Bracket:
    """Both sides of log Z, of `anneal` and `anneal_back`, in one report."""
    precision = [1 / max(side.log_z_se, 1e-12) ** 2 for side in (forward, back)]
    total = sum(precision)
    gap = back.log_z - forward.log_z
    if total == 0:
        return Bracket(forward.log_z, back.log_z, gap, math.nan, math.inf)
    log_z = (precision[0] * forward.log_z + precision[1] * back.log_z) / total
    agree = abs(gap) <= 2 * math.hypot(forward.log_z_se, back.log_z_se)
    se = 1 / math.sqrt(total)
    return Bracket(forward.log_z, back.log_z, gap, log_z, se if agree else max(se, abs(gap) / 2))


def resample(annealed: Annealed, n: int, rng: torch.Generator) -> Tensor:
    """n draws [n, *shape] of the model: the chains' positions, in proportion to their weights (systematic)."""
    index = systematic(annealed.log_weights, n, rng)
    return annealed.x[index.to(annealed.x.device)]


def systematic(log_weights: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """n indices in increasing order, index i about n w_i / Σ w times, from one uniform draw.

    Source: Kitagawa (1996), JCGS 5(1).
    """
    cumulative = log_weights.softmax(0).cumsum(0)
    u = torch.rand((), generator=rng, device=rng.device).to("cpu", torch.float64)
    grid = (torch.arange(n, dtype=torch.float64) + u) / n * cumulative[-1]
    # Rounding may put the last point on the end of the scale, where a chain without weight would answer.
    last = int((log_weights > -math.inf).nonzero()[-1])
    return torch.searchsorted(cumulative, grid, right=True).clamp(max=last)


def _run(
    path: Path,
    points: Points,
    along: Plan,
    levels: tuple[float, ...],
    step_sizes: tuple[float, ...],
    rng: torch.Generator,
    sign: int,
) -> Annealed:
    """Take weighted points through the levels; `sign` says whether the weights' mean is Z or 1/Z."""
    n, device = len(points.x), points.x.device
    log_w = torch.zeros(n, dtype=torch.float64)
    offset, family, accepted = 0.0, torch.arange(n), torch.zeros((), device=device)
    for t, (b, eps) in enumerate(zip(levels[1:], step_sizes[1:], strict=True), start=1):
        log_w = log_w - path.energy_change(points, b)
        path.level = b
        if t < len(levels) - 1 and _ess(log_w) < THRESHOLD * n:
            index = systematic(log_w, n, rng)
            points, family = points.take(index.to(device)), family[index]
            offset += float(log_w.logsumexp(0)) - math.log(n)
            log_w = torch.zeros_like(log_w)
        points, accept = path.move(replace(along.kernel, step_size=eps), points, rng)
        accepted += accept.mean()
    ess = 1 / float(torch.zeros_like(log_w).index_add_(0, family, log_w.softmax(0)).square().sum())
    log_mean = offset + float(log_w.logsumexp(0)) - math.log(n)
    acceptance = float(accepted) / (len(levels) - 1)
    return Annealed(
        log_z=sign * log_mean,
        log_z_se=_standard_error(ess, n),
        ess=ess,
        x=points.x,
        log_weights=log_w + offset,
        acceptance=acceptance,
        evaluations=path.evaluations + along.evaluations,
        plan=along,
        warning=_warning(ess, n, acceptance, path),
    )


def _standard_error(ess: float, n: int) -> float:
    """The formula of the module's docstring."""
    freedom = ess - 1
    if freedom <= 2:
        return math.inf
    return math.sqrt(max(n / ess - 1, 0.0) / (n - 1) * freedom / (freedom - 2))


def _warning(ess: float, n: int, acceptance: float, path: Path) -> str | None:
    undefined = int(path.undefined)
    if ess < min(BELIEVABLE, n / 4):
        return f"{ess:.1f} of {n} chains carry the weight: log Z and its error are guesses; take more temperatures"
    if acceptance < 0.1:
        return f"the chains accept {acceptance:.0%} of their moves: the step sizes do not fit the energy"
    if undefined:
        return f"the energy was NaN or -inf at {undefined} of {path.evaluations} points: their mass is not counted"
    return None


def _start(
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
    return path, _evaluated(path, x.detach(), kernel)


def _evaluated(path: Path, x: Tensor, kernel: Kernel) -> Points:
    """The points that a run starts at, where f must be a number or +∞."""
    points = path.evaluate(x, with_grad=kernel.evaluations(1).grad > 0)
    bad = ~(points.f > -math.inf)
    if bad.any():
        where = [round(v, 3) for v in x[bad][0].flatten()[:4].tolist()]
        raise NotIntegrable(f"the energy is {points.f[bad][0].item()} at u = {where}{'…' if x[0].numel() > 4 else ''}")
    if bool((points.f == math.inf).all()):
        raise NotIntegrable(f"the energy is infinite at all of {len(x)} points that the chains would start at")
    return points


def _check_reach(points: Points) -> None:
    if not float(points.x.flatten(1).abs().amax(1).median()) < REACH:
        raise NotIntegrable(f"exp(-energy) is not integrable: half of the chains run beyond ±{REACH:.3g}")


def _next_level(path: Path, points: Points) -> float:
    """The largest level at which the conditional ESS is still CESS of the chains that have any weight."""
    alive = points.take((points.f < math.inf).nonzero().squeeze(1))

    def enough(b: float) -> bool:
        return _ess(-path.energy_change(alive, b)) >= CESS * len(alive.x)

    if enough(1.0):
        return 1.0
    # In logarithms: the first step may have to be very small.
    low, high = math.log(1e-12), math.log(1 - path.level)
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if enough(path.level + math.exp(middle)) else (low, middle)
    return path.level + math.exp(low)


def _ess(log_w: Tensor) -> float:
    """(Σ w)²/Σ w², 0 where there is no weight."""
    total = log_w.logsumexp(0)
    if total == -math.inf:
        raise NotIntegrable("no chain has any weight left: the energy is infinite wherever they went")
    return float((2 * total - (2 * log_w).logsumexp(0)).exp())
