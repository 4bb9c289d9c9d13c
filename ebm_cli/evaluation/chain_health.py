"""Faults that make the samples of chains untrustworthy: chains that never moved, and draws that are not finite.

`problems` reads results, those of an evaluation and of `ebm sample` alike; a command that finishes with one of them
ends with exit code 4 (`errors.NotTrustworthy`). The cure is in the sentence.
"""

from ebm_cli.evaluation.values import Values, number


def problems(values: Values) -> list[str]:
    """Sentences on what makes the chains of these results untrustworthy, each with its cure; none where nothing does.

    Args:
        values: results with `sampler/never_moved`, `sampler/non_finite` and `sampler/n_chains`.
    """
    found = []
    # The keys of `ebm sample`, and those of an evaluation.
    group, option, burn_in = "sampler", "sampler=mala", "adapt=true burn_in=1000"
    if any(key.startswith("eval/") for key in values):
        group, option, burn_in = "eval.sampler", "sampler@eval.sampler=mala", "eval.burn_in=1000"
    still, n_chains = number(values, "sampler/never_moved"), number(values, "sampler/n_chains")
    if still:
        of_all = "" if n_chains is None else f" of {n_chains:.0f}"
        step = number(values, "sampler/step_size")
        was = "" if step is None else f" (it was {step:.3g})"
        found.append(
            f"{still:.0f}{of_all} chains never moved: every proposal was refused, so their draws are their starting "
            f"points. Lower {group}.step_size{was}, or adapt it in a longer burn-in ({burn_in})."
        )
    broken = number(values, "sampler/non_finite")
    if broken:
        found.append(
            f"{broken:.0f} draws are not finite: the chains diverged. Lower {group}.step_size, or choose a sampler "
            f"with a Metropolis test ({option})."
        )
    return found
