"""log Z in any dimension: annealed importance sampling, with resampling, along a path from a known density.

Chains start at exact draws of the base q and pass through levels 0 = b_0 < … < b_T = 1 of a path (`annealing_path`):
at each, their weight takes up the change of the energy, and a Markov kernel that leaves p_{b_t} invariant moves them,

    log w ← log w − [E_{b_t}(x) − E_{b_{t−1}}(x)],        x ← K_t(x),        Z = E[w]

for kernels of any mixing. Where the weights' effective sample size falls below three quarters of the chains, systematic
resampling replaces light chains by copies of heavy ones; Z is then the product of the mean weights, and still
unbiased. Levels and step sizes are fixed beforehand (`annealing_schedule`); the standard error is that of families of
chains (`importance_weights`).

No error computed from the weights accounts for a mode that no chain found. The path has to bring chains to every mode,
and where there are exact samples of the model, annealing them back bounds log Z from the other side:

    E[log Z_forward] ≤ log Z ≤ E[log Z_back],       1/Z = E[w_back]

Sources: Neal (2001), Stat. Comput. 11; Del Moral, Doucet & Jasra (2006), JRSS B 68(3), for the resampling; Grosse,
Ghahramani & Adams (2015), arXiv:1511.02543, for the bound from above.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ebm_cli.densities.base import Density
from ebm_cli.evaluation.annealing_path import AnnealingPath, Points
from ebm_cli.evaluation.annealing_schedule import (
    FADE,
    N_TEMPERATURES,
    AnnealingSchedule,
    evaluate_start,
    plan_schedule,
    start_path,
)
from ebm_cli.evaluation.importance_weights import effective_size, n_families, standard_error, systematic_indices
from ebm_cli.samplers import EnergyFn, Kernel

N_CHAINS = 1000
RESAMPLE_BELOW = 0.75  # ESS, as a share of the chains, below which they are resampled
RELIABLE = 30.0  # families below which the error itself is a guess


@dataclass(frozen=True)
class Annealed:
    """log Z by annealing, its standard error, and the weighted chains that it was computed from.

    Attributes:
        log_z: nats; of `anneal_back` too.
        log_z_se: its standard error; inf where fewer than three families carry the weight.
        ess: effective number of families that carry the weight, 1 … n_chains.
        x: where the chains ended [B, *shape]: weighted draws of the model, of the base for `anneal_back`.
        log_weights: [B] float64 on the CPU; the log of their mean weight is log Z (−log Z for `anneal_back`).
        acceptance: mean over levels and chains.
        evaluations: of the energy (with its gradient, where the kernel uses it), the pilot's included.
        schedule: the levels and step sizes.
        warning: one sentence, where the numbers are not reliable.
    """

    log_z: float
    log_z_se: float
    ess: float
    x: Tensor
    log_weights: Tensor
    acceptance: float
    evaluations: int
    schedule: AnnealingSchedule
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


def anneal(
    energy: EnergyFn,
    base: Density,
    *,
    rng: torch.Generator,
    n_chains: int = N_CHAINS,
    n_temperatures: int = N_TEMPERATURES,
    kernel: Kernel | None = None,
    fade: float = FADE,
    schedule: AnnealingSchedule | None = None,
    resample_below: float = RESAMPLE_BELOW,
) -> Annealed:
    """Estimate log ∫ exp(−f(x)) dx by annealing chains from the base to the model.

    Args:
        energy: f, [B, *shape] → [B], nats, in standardised units; +∞ where the model has no mass.
        base: q, positive and differentiable wherever the model has mass: the fitted Gaussian.
        rng: source of every draw, on the base's device.
        n_chains: B ≥ 10.
        n_temperatures, kernel, fade: see `plan_schedule`.
        schedule: levels and step sizes of an earlier run, in place of a pilot of its own.
        resample_below: ESS of the weights, as a share of the chains, below which they are resampled, 0 … 1.

    Raises:
        ValueError: a number out of range.
        NotIntegrable: there is no log Z; the message gives the reason.

    Cost: n_chains · n_temperatures evaluations with gradient (times n_leapfrog for HMC), and the pilot.
    """
    if schedule is None:
        schedule = plan_schedule(energy, base, rng=rng, n_temperatures=n_temperatures, kernel=kernel, fade=fade)
    path, points = start_path(energy, base, schedule.fade, schedule.kernel, n_chains, rng)
    return _run(path, points, schedule, rng, resample_below)


def anneal_back(
    energy: EnergyFn,
    base: Density,
    samples: Tensor | Callable[[int, torch.Generator], Tensor],
    schedule: AnnealingSchedule,
    *,
    rng: torch.Generator,
    n_chains: int = N_CHAINS,
    resample_below: float = RESAMPLE_BELOW,
) -> Annealed:
    """Estimate log Z from above: anneal exact samples of the model back to the base.

    Args:
        energy, base, rng, resample_below: as for `anneal`.
        samples: independent draws of exp(−f)/Z [B, *shape], or a function that draws them: (n, rng) → [n, *shape].
            Samples of a chain that has not forgotten its start make no bound.
        schedule: that of the forward run, `Annealed.schedule`.
        n_chains: B ≥ 10, where `samples` is a function.

    Raises:
        ValueError, NotIntegrable: as for `anneal`.

    Cost: one evaluation with gradient a chain and level.
    """
    x = samples if isinstance(samples, Tensor) else samples(n_chains, rng)
    if len(x) < 10:
        raise ValueError(f"n_chains must be >= 10, got {len(x)} samples")
    path = AnnealingPath(energy, base, schedule.fade)
    path.level = 1.0
    points = evaluate_start(path, path.to_path(x.detach()), schedule.kernel)
    if bool((points.f == math.inf).any()):
        raise ValueError("the energy is infinite at some of the samples: they are not the model's")
    return _run(path, points, replace(schedule, evaluations=0), rng, resample_below, backwards=True)


def bracket(forward: Annealed, back: Annealed) -> Bracket:
    """Combine both sides of log Z, of `anneal` and `anneal_back`."""
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
    index = systematic_indices(annealed.log_weights, n, rng)
    return annealed.x[index.to(annealed.x.device)]


def _run(
    path: AnnealingPath,
    points: Points,
    schedule: AnnealingSchedule,
    rng: torch.Generator,
    resample_below: float,
    *,
    backwards: bool = False,
) -> Annealed:
    """Take weighted points through the levels, backwards from 1 to 0; the weights' mean is then 1/Z, not Z."""
    step = -1 if backwards else 1
    levels, step_sizes = schedule.levels[::step], schedule.step_sizes[::step]
    n, device = len(points.x), points.x.device
    log_w = torch.zeros(n, dtype=torch.float64)
    offset, family, accepted = 0.0, torch.arange(n), torch.zeros((), device=device)
    for t, (b, eps) in enumerate(zip(levels[1:], step_sizes[1:], strict=True), start=1):
        log_w = log_w - path.energy_change(points, b)
        path.level = b
        if t < len(levels) - 1 and effective_size(log_w) < resample_below * n:
            index = systematic_indices(log_w, n, rng)
            points, family = points.take(index.to(device)), family[index]
            offset += float(log_w.logsumexp(0)) - math.log(n)
            log_w = torch.zeros_like(log_w)
        points, accept = path.move(replace(schedule.kernel, step_size=eps), points, rng)
        accepted += accept.mean()
    ess = n_families(log_w, family)
    log_mean = offset + float(log_w.logsumexp(0)) - math.log(n)
    acceptance = float(accepted) / (len(levels) - 1)
    return Annealed(
        log_z=step * log_mean,
        log_z_se=standard_error(ess, n),
        ess=ess,
        x=path.from_path(points.x),
        log_weights=log_w + offset,
        acceptance=acceptance,
        evaluations=path.evaluations + schedule.evaluations,
        schedule=schedule,
        warning=warn(ess, n, acceptance, int(path.undefined), path.evaluations),
    )


def warn(ess: float, n: int, acceptance: float, undefined: int = 0, evaluations: int = 0) -> str | None:
    """One sentence where the numbers of an annealing are not reliable; None where they are.

    Args:
        ess: effective number of families.
        n: chains.
        acceptance: mean over levels and chains.
        undefined: points at which the energy was NaN or −∞, of `evaluations`.
        evaluations: of the energy.
    """
    if ess < min(RELIABLE, n / 4):
        return f"{ess:.1f} of {n} chains carry the weight: log Z and its error are guesses; take more temperatures"
    if acceptance < 0.1:
        return f"the chains accept {acceptance:.0%} of their moves: the step sizes do not fit the energy"
    if undefined:
        return f"the energy was NaN or -inf at {undefined} of {evaluations} points: their mass is not counted"
    return None
