"""Annealing and chains of an evaluation that several processes share, each with its part of the chains.

All processes call these functions together; the numbers are those of all chains. Each process has a random stream of
its own, so that results differ from those of one process by the noise that a second seed would make, and each adapts
the step of its own chains. Weights of annealed chains are comparable between processes, because the mean weight of any
of them is an unbiased estimate of Z:

    Z = Σ_r n_r Z_r / Σ_r n_r,        1/ESS = Σ_r S_r²/ESS_r,        S_r = n_r Z_r / Σ n Z

where ESS counts families, which no two processes have in common.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ebm_cli.densities import Density
from ebm_cli.evaluation.annealing import Annealed, anneal, warn
from ebm_cli.evaluation.annealing_schedule import plan_schedule
from ebm_cli.evaluation.importance_weights import standard_error
from ebm_cli.evaluation.model_samples import Drawn, Ran, described, n_steps, run_chains
from ebm_cli.evaluation.not_integrable import NotIntegrable
from ebm_cli.samplers import EnergyFn, Info, Kernel
from ebm_cli.system.ranks import Ranks

FEWEST = 10
"""Chains of a process that takes part. They are resampled among themselves, and their step size follows their own
acceptance, which fewer leave to chance; a step of fewer hardly takes less time."""
PLAIN = ("log_z", "log_z_se", "ess", "x", "log_weights", "acceptance", "evaluations", "warning")
"""Fields of `Annealed` that a process tells the others: all but the schedule, which they know."""


def n_sharing(n_chains: int, ranks: Ranks) -> int:
    """Number of the processes that so many chains are divided among: as many as get `FEWEST` each, at least one."""
    return max(1, min(ranks.size, n_chains // FEWEST))


def are_shared(n_chains: int, ranks: Ranks) -> bool:
    """True if so many chains are divided among several of these processes."""
    return n_sharing(n_chains, ranks) > 1


def _part(rows: Tensor, ranks: Ranks) -> Tensor:
    """The rows of this process's chains, from those of all; none where the first processes share them."""
    size = n_sharing(len(rows), ranks)
    return Ranks(ranks.index, size).part(rows) if ranks.index < size else rows[:0]


def anneal_together(
    energy: EnergyFn,
    base: Density,
    ranks: Ranks,
    *,
    n_chains: int,
    n_temperatures: int,
    fade: float,
    rng: torch.Generator,
    own: torch.Generator,
) -> Annealed:
    """`anneal`, each process with its part of the chains.

    Args:
        energy, base, n_chains, n_temperatures, fade: as for `anneal`.
        ranks: the processes.
        rng: of the pilot, the same in all of them.
        own: of this process.

    Raises:
        NotIntegrable: in any of the processes.

    Cost: that of `anneal` by the number of processes, and the pilot.
    """
    part: dict[str, Any] = {}
    try:
        schedule = plan_schedule(energy, base, rng=rng, n_temperatures=n_temperatures, fade=fade)
        n = len(_part(torch.empty(n_chains), ranks))
        if n:
            found = anneal(energy, base, rng=own, n_chains=n, schedule=schedule)
            part = {name: value for name, value in vars(found).items() if name in PLAIN}
            part["x"] = found.x.cpu()
    except NotIntegrable as reason:
        part = {"reason": str(reason)}
    parts = [each for each in ranks.collect(part) if each]
    for each in parts:
        if "reason" in each:
            raise NotIntegrable(each["reason"])
    joined = join_annealed([Annealed(schedule=schedule, **each) for each in parts])
    return replace(joined, x=joined.x.to(own.device))


def join_annealed(parts: Sequence[Annealed]) -> Annealed:
    """The annealing of all chains, from those of its parts, whose pilot is the same."""
    log_weights = torch.cat([part.log_weights for part in parts])
    n, sizes = len(log_weights), [len(part.log_weights) for part in parts]
    totals = torch.stack([part.log_weights.logsumexp(0) for part in parts])
    ess = 1 / sum(share**2 / part.ess for share, part in zip(totals.softmax(0).tolist(), parts, strict=True))
    acceptance = sum(size * part.acceptance for size, part in zip(sizes, parts, strict=True)) / n
    pilot = parts[0].schedule.evaluations
    return replace(
        parts[0],
        log_z=float(log_weights.logsumexp(0)) - math.log(n),
        log_z_se=standard_error(ess, n),
        ess=ess,
        x=torch.cat([part.x for part in parts]),
        log_weights=log_weights,
        acceptance=acceptance,
        evaluations=pilot + sum(part.evaluations - pilot for part in parts),
        warning=warn(ess, n, acceptance) or next((part.warning for part in parts if part.warning), None),
    )


def draw_together(
    energy: EnergyFn,
    kernel: Kernel,
    starts: Tensor,
    n_samples: int,
    burn_in: int,
    ranks: Ranks,
    own: torch.Generator,
    reference: Density | None = None,
) -> Drawn:
    """`model_samples.draw`, each process with its part of the chains.

    Args:
        energy, kernel, starts, n_samples, burn_in, reference: as for `draw`.
        ranks: the processes.
        own: random numbers of this one.

    Returns:
        The samples of all; what the kernel says of itself is that of this process.
    """
    began = time.monotonic()
    n = n_steps(n_samples, len(starts))
    mine = _part(starts, ranks)
    part: dict[str, Any] = {}
    if len(mine):
        ran = run_chains(energy, kernel, mine, n, burn_in, own, reference)
        kernel = ran.kernel
        part = {name: _kept(value) for name, value in ran._asdict().items() if name != "kernel"}
    parts = [each for each in ranks.collect(part) if each]

    def together(name: str, dim: int = 0) -> Tensor:
        return torch.cat([part[name] for part in parts], dim).to(starts.device)

    info = Info._make(
        None if value is None else torch.cat([part["info"][i] for part in parts]).to(starts.device)
        for i, value in enumerate(parts[0]["info"])
    )
    jumps = None if parts[0]["jumps"] is None else together("jumps")
    return described(Ran(kernel, together("x"), together("draws", 1), info, jumps), energy, n, began)


def _kept(value: Any) -> Any:
    """A tensor, or several, as every process can read them."""
    if isinstance(value, tuple):
        return [_kept(each) for each in value]
    return value.cpu() if isinstance(value, Tensor) else value
