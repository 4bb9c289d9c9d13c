"""Faults that make the samples of chains untrustworthy: chains that never moved, and draws that are not finite.

`problems` reads results, those of an evaluation and of `ebm sample` alike; a command that finishes with one of them
ends with exit code 4 (`errors.NotTrustworthy`). The cure is in the sentence.
"""

from ebm_cli.evaluation.chain_verdicts import n_stuck
from ebm_cli.evaluation.values import Values, number


def problems(values: Values) -> list[str]:
    """Sentences on what makes the chains of these results untrustworthy, each with its cure; none where nothing does.

    Args:
        values: results with `sampler/never_moved`, `sampler/non_finite`, `sampler/n_chains` and `sampler/step_size`.
            One chain of a thousand is a problem, too, unless so few transitions leave some at rest by chance: a step
            that is refused for ever at one point hides a part of the distribution, however small.
    """
    found = []
    still, n_chains = n_stuck(values), number(values, "sampler/n_chains")
    if still:
        found.append(_still(values, still, n_chains or still))
    broken, n_draws = number(values, "sampler/non_finite"), number(values, "sampler/n_draws")
    if broken:
        group, option, _ = sampler_keys(values)
        of_all = "" if n_draws is None else f" of {n_draws:.0f}"
        found.append(
            f"{broken:.0f}{of_all} draws are not finite: the chains diverged. Lower {group}.step_size, or choose a "
            f"sampler with a Metropolis test ({option}=mala)."
        )
    return found


def sampler_keys(values: Values) -> tuple[str, str, str]:
    """The sampler's node, the word that chooses it and those that let it adapt, in `ebm sample` or an evaluation.

    The former says where its chains started. The latter may have no key of its own, as with metrics=[chains].
    """
    if "sampler/init" in values:
        return "sampler", "sampler", "adapt=true burn_in=1000"
    return "eval.sampler", "sampler@eval.sampler", "eval.burn_in=1000"


def _still(values: Values, still: float, n_chains: float) -> str:
    """The sentence on chains that never moved: most of them, where the step size is wrong, or a few that are alone."""
    group, option, adapted = sampler_keys(values)
    step = number(values, "sampler/step_size")
    shorter = "" if step is None else f"={step / 10:.2g}"
    fixed = "adapt=false " if group == "sampler" else ""
    if 2 * still > n_chains:
        length = "" if step is None else f", {step:.3g},"
        return (
            f"{still:.0f} of {n_chains:.0f} chains never moved: every proposal was refused, so their draws are their "
            f"starting points. The step size{length} is too long: take {group}.step_size{shorter} or less, or let a "
            f"burn-in adapt it ({adapted}); or the energy is not finite there."
        )
    return (
        f"{still:.0f} of {n_chains:.0f} chains never moved: the step size that suits the others is refused where they "
        "stand (or the energy is not finite there). R-hat and ESS leave them out, the samples do not. Take "
        f"{fixed}{group}.step_size{shorter}, a longer burn-in, or {option}=metropolis, which no steep gradient stops."
    )
