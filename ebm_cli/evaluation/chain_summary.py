"""Diagnostics of draws that are not to deceive: chains that never moved, draws that are not finite, a bounded ESS.

A chain that never moved has no effective draw at all, and yet a constant chain upsets every diagnostic: R̂ and ESS are
those of the chains that moved. Draws that are not finite have no diagnostics. ESS is at most the number of different
draws: the estimate itself has no such bound, since antithetic draws can be worth more than independent ones, but what
is reported as a number of draws must exist.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ebm_cli.evaluation.mcmc_diagnostics import diagnose, too_few_draws
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.separation import separation
from ebm_cli.evaluation.values import Value, number
from ebm_cli.evaluation.virial import virial
from ebm_cli.samplers import EnergyFn, Info, Kernel, Tempering

MANY_STEPS = 80
"""Transitions without a move that are no chance: at an acceptance of 0.15 one chain in 400,000 has none."""


def never_moved(draws: Tensor, starts: Tensor | None = None) -> Tensor:
    """The chains whose draws are all one point: [n_draws, n_chains, *D] → bool [n_chains].

    Args:
        draws: of the chains.
        starts: where the chains stood before the first draw [n_chains, *D]: a chain that left it has moved. Without
            them, one draw a chain shows no move.
    """
    first = draws[0] if starts is None else starts
    # The last draws of most chains are elsewhere already; only the others are compared at each draw.
    still = (draws[-1] == first).flatten(1).all(1)
    held = still.nonzero()[:, 0]
    still[held] = (draws[:, held] == first[held]).transpose(0, 1).flatten(1).all(1)
    return still


def non_finite(draws: Tensor) -> Tensor:
    """The draws with a coordinate that is not finite: [n_draws, n_chains, *D] → bool [n_draws, n_chains]."""
    return ~draws.flatten(2).isfinite().all(2)


def chain_results(
    kernel: Kernel,
    energy: EnergyFn,
    info: Info,
    draws: Tensor,
    starts: Tensor,
    thin: int,
    n_rows: int = 1,
    used: Tensor | None = None,
    burn_in: int = 0,
) -> Results:
    """Results of chains: acceptance, bias, step size, exchanges, chains that never moved, R̂ and ESS.

    Args:
        kernel: of the chains, after adaptation.
        energy: E of their target exp(−E/T).
        info: averaged over their steps.
        draws: [n_draws, n_chains, *D].
        starts: where the chains stood before [n_chains, *D], at the first draw or at the start of burn-in.
        thin: transitions from one draw to the next.
        n_rows, used: as in `worst_diagnostics`.
        burn_in: transitions from `starts` to where the draws begin.

    Cost: some 4096 gradients, of the virial, unless the kernel takes none.
    """
    found = acceptance(kernel, info, draws[0, 0].numel())
    mixing = worst_diagnostics(draws, starts, thin, n_rows, used)
    if kernel.evaluations(1).grad:
        # An energy whose sampler asks for no gradient may have none.
        found |= virial(energy, draws, kernel.temperature, number(mixing.values, "sampler/rhat"))
    found |= exchanges(kernel, info, thin * len(draws))
    return found | Results({"sampler/n_steps": burn_in + thin * len(draws)}) | mixing


def worst_diagnostics(
    draws: Tensor, starts: Tensor | None = None, thin: int = 1, n_rows: int = 1, used: Tensor | None = None
) -> Results:
    """R̂ and ESS of the worst coordinate, with the counts of what makes them meaningless.

    Args:
        draws: [n_draws, n_chains, *D].
        starts: where the chains stood before the first draw [n_chains, *D]. A chain whose draws are all there never
            moved; so did one whose draws are all at another point, if they span many transitions.
        thin: transitions from one draw to the next.
        n_rows: number of distributions: the chains r, r + n_rows, r + 2 n_rows, … have the same one, and diagnostics
            are those of the worst.
        used: the coordinates of each chain that are part of its distribution, bool [n_chains, *D]; None is all.

    Returns:
        `sampler/never_moved` of `sampler/n_chains`, `sampler/non_finite` of `sampler/n_draws`; `sampler/rhat`,
        `sampler/ess_bulk` and `sampler/ess_tail`, or their absence with its reason; `sampler/separation` of the chains
        in the coordinate with the worst R̂. These are those of the chains whose draws differ; coordinates without a
        diagnostic are ignored where others have one.
    """
    n_draws, n_chains = draws.shape[:2]
    differ = ~never_moved(draws) if n_draws > 1 else torch.zeros(n_chains, dtype=torch.bool)
    never = ~differ if thin * (n_draws - 1) >= MANY_STEPS else never_moved(draws, starts)
    n_still, n_broken = int(never.sum()), int(non_finite(draws).sum())
    counts: dict[str, Value] = {"sampler/never_moved": n_still, "sampler/n_chains": n_chains}
    counts |= {"sampler/non_finite": n_broken, "sampler/n_draws": n_draws * n_chains}
    if n_still == n_chains:
        return _absent(counts, "no chain ever moved")
    if n_broken:
        return _absent(counts, f"{n_broken} of {n_draws * n_chains} draws are not finite")
    if reason := too_few_draws(n_draws):
        return _absent(counts, reason)
    rows = [_of_row(draws[:, row::n_rows], differ[row::n_rows], used, row) for row in range(n_rows)]
    rhat, bulk, tail = (torch.cat(values) for values in zip(*(row[:3] for row in rows), strict=True))
    if not rhat.numel():
        return _absent(counts, "every coordinate is constant in a chain")
    results = Results(counts)
    if bool(rhat.isinf().any()):
        results |= Results(absent={"sampler/rhat": "it is infinite: the halves of every chain stand at one point each"})
    else:
        results |= Results({"sampler/rhat": float(rhat.max())})
    worst = max((row for row in rows if row.rhat.numel()), key=lambda row: float(row.rhat.max()))
    if worst.apart is not None:
        results |= Results({"sampler/separation": worst.apart})
    return results | Results({"sampler/ess_bulk": float(bulk.min()), "sampler/ess_tail": float(tail.min())})


class _Row(NamedTuple):
    """R̂, bulk and tail ESS of the coordinates that have them [n], and the separation of the chains in the worst one."""

    rhat: Tensor
    ess_bulk: Tensor
    ess_tail: Tensor
    apart: float | None


def _of_row(draws: Tensor, differ: Tensor, used: Tensor | None, row: int) -> _Row:
    """The diagnostics of chains with one distribution."""
    if not bool(differ.any()):
        return _Row(*(draws.new_empty(0, dtype=torch.float64),) * 3, None)
    moving = draws if bool(differ.all()) else draws[:, differ]
    found = diagnose(moving).bounded()
    known = ~found.rhat.isnan() if used is None else ~found.rhat.isnan() & used[row]
    if not bool(known.any()):
        return _Row(found.rhat[known], found.ess_bulk[known], found.ess_tail[known], None)
    worst = int(torch.where(known, found.rhat, -1.0).argmax())
    apart = separation(moving.flatten(2)[:, :, worst])
    return _Row(found.rhat[known], found.ess_bulk[known], found.ess_tail[known], apart)


def _absent(counts: dict[str, Value], reason: str) -> Results:
    return Results(counts, {f"sampler/{name}": reason for name in ("rhat", "ess_bulk", "ess_tail")})


def exchanges(kernel: Kernel, info: Info, n_steps: int) -> Results:
    """Rates of exchange and round trips of tempered chains, and their ladder; nothing of others.

    Args:
        kernel: of the chains, with its tuned ladder.
        info: averaged over their steps.
        n_steps: their number.
    """
    if not isinstance(kernel, Tempering) or info.swaps is None or info.round_trips is None:
        return Results()
    rates = info.swaps.double().mean(0)
    values: dict[str, Value] = {"sampler/swap_rate": float(rates.mean()), "sampler/swap_rate_low": float(rates.min())}
    values["sampler/round_trips"] = n_steps * float(info.round_trips.double().mean())
    values["sampler/ladder"] = " ".join(f"{1 / beta:.4g}" for beta in kernel.betas)
    return Results(values)


def acceptance(kernel: Kernel, info: Info, dimension: int) -> Results:
    """The step size of chains; with a Metropolis test also their acceptance rate, and the range of good ones.

    Args:
        kernel: of the chains, after adaptation.
        info: averaged over their steps.
        dimension: D of their points.
    """
    values: dict[str, Value] = {"sampler/step_size": float(kernel.step_size)}
    if kernel.target_accept is None:
        return Results(values)
    low, high = kernel.good_accept(dimension)
    rates: dict[str, Value] = {"sampler/acceptance": float(info.accept.mean())}
    return Results(rates | {"sampler/acceptance_low": low, "sampler/acceptance_high": high} | values)
