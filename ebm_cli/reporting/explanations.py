"""Sentences on results that a table cannot explain: a trained log Z that is off, wrong mode weights, stuck chains."""

import math
from collections.abc import Iterator, Mapping

from ebm_cli.evaluation.chain_health import sampler_keys
from ebm_cli.evaluation.chain_verdicts import ENOUGH, MIXED, SEPARATED, UNMIXED, n_stuck
from ebm_cli.evaluation.overall import worse_than
from ebm_cli.evaluation.result_list import SIZES
from ebm_cli.evaluation.result_registry import describe, verdict
from ebm_cli.evaluation.values import Values, number
from ebm_cli.evaluation.verdicts import LOG_Z_AGREES, REVERSED

MARGIN = 1.25
"""Factor on the draws that would have just enough effective ones: an estimate of them is uncertain."""
LEAST_GAP = 0.001
"""Nats: a smaller gap of log Z changes no number that is shown."""


def explain(values: Values) -> list[str]:
    """The sentences for these results; none where every result speaks for itself."""
    rules = (
        _log_z_gap,
        _worse_than_own_density,
        _mode_weights,
        _temperature,
        _mixing,
        _sizes,
        _acceptance,
        _bias,
        _foreign,
    )
    return [sentence for rule in rules for sentence in rule(values)]


def absences(absent: Mapping[str, str]) -> list[str]:
    """Why results are missing, one sentence a reason: `a, b: reason`."""
    keys: dict[str, list[str]] = {}
    for key, reason in absent.items():
        keys.setdefault(reason, []).append(key)
    return [f"{', '.join(names)}: {reason}" for reason, names in keys.items()]


def _log_z_gap(values: Values) -> Iterator[str]:
    gap = number(values, "eval/log_z_gap")
    if gap is None:
        return
    if verdict("eval/log_z_gap", values).word == "agrees":
        apart = f"{abs(gap):.2g}" if abs(gap) >= LEAST_GAP else f"less than {LEAST_GAP}"
        error = number(values, "eval/log_z_se")
        known = f"; the integral has an error of {error:.2g}" if error and abs(gap) > LOG_Z_AGREES else ""
        yield f"The trained log Z and the integral agree: they are {apart} nats apart{known}."
    else:
        yield (
            f"The trained log Z is {abs(gap):.3g} nats {'above' if gap > 0 else 'below'} the integral: exp(-f)/Z with "
            f"the trained Z integrates to {math.exp(-gap):.4g}. The densities here use the integral only."
        )


def _worse_than_own_density(values: Values) -> Iterator[str]:
    """The energy against a density that the method trained beside it, on the same rows."""
    for name, nats in worse_than(values):
        yield (
            f"The energy is worse than its own {name}, whose NLL is {nats:.3g} nats lower: it has learned less than "
            f"what it is trained against. Train longer, or with a smaller optimizer.lr; until then the {name} is the "
            "better model."
        )


def _mode_weights(values: Values) -> Iterator[str]:
    share = number(values, "eval/mode_tv")
    if share is None or verdict("eval/mode_tv", values).good is not False:
        return
    right_score = verdict("eval/fisher", values).word == "close"
    also = (
        " The score is right nearly everywhere in the data (Fisher divergence): only the weights of separated modes "
        "are wrong, which a score cannot show."
    )
    yield f"{share:.1%} of the probability is in the wrong modes.{also if right_score else ''}"


def _temperature(values: Values) -> Iterator[str]:
    if verdict("eval/chain_temperature", values).good is False:
        value = number(values, "eval/chain_temperature")
        yield (
            f"The method's own chains sample exp(-f/T) at T = {value:.3g}: their samples do not follow the energy that "
            "they train."
        )


def _mixing(values: Values) -> Iterator[str]:
    """By degree: R̂² is about 1 + the variance between chains over that within them, 2 % at 1.01 and 20 % at 1.1."""
    rhat = number(values, "sampler/rhat")
    if rhat is None or verdict("sampler/rhat", values).good is not False:
        return
    apart = number(values, "sampler/separation")
    if rhat < UNMIXED:
        yield (
            f"The chains have nearly mixed (R-hat {rhat:.4g}, below {MIXED} is asked for): longer ones would make the "
            "samples' means and quantiles more certain."
        )
    elif apart is not None and apart >= SEPARATED:
        # `ebm sample` says where its chains start; of an evaluation, at annealed points unless annealing fails.
        init = values.get("sampler/init", "annealed" if "eval/log_z_ais" in values else "")
        start = {"annealed": "the annealed start", "noise": "the noise that they start from"}.get(str(init))
        yield (
            f"The chains have not mixed (R-hat {rhat:.4g}): groups of them stay in regions of their own, as in "
            f"separate modes. The weights of modes are those of {start or 'their start'}, not of the chains."
            f"{_crossing(values)}"
        )
    else:
        yield (
            f"The chains have not converged yet (R-hat {rhat:.4g}): the draws of each are correlated over much of its "
            f"length, so that chains differ. {_longer(values)}"
        )


def _longer(values: Values) -> str:
    """The way to longer chains, in `ebm sample` or an evaluation; of a ladder that is at fault, its cure."""
    if "sampler/swap_rate" in values and not _is_good_ladder(values):
        return _crossing(values).strip()
    if "sampler/init" in values:
        return "Take longer ones (a larger thin), and a longer burn_in where they start far away."
    return "Take longer ones (a larger eval.n_samples, or fewer eval.n_chains), and a longer eval.burn_in."


def _is_good_ladder(values: Values) -> bool:
    return all(verdict(f"sampler/{name}", values).good is not False for name in ("swap_rate", "round_trips"))


def _sizes(values: Values) -> Iterator[str]:
    """Why effective sizes are small, of chains that have met: few draws were asked for, or they are correlated."""
    rhat, n_draws = number(values, "sampler/rhat"), number(values, "sampler/n_draws")
    sizes = {key: size for key in SIZES if (size := number(values, key)) is not None}
    if rhat is None or rhat >= UNMIXED or n_draws is None or not sizes:
        return
    key = min(sizes, key=lambda name: sizes[name])
    word, size, is_sample = verdict(key, values).word, max(1.0, sizes[key]), "sampler/init" in values
    factor = MARGIN * ENOUGH / size
    n_chains = number(values, "sampler/n_chains") or 1.0
    n = n_chains * math.ceil(_rounded_up(factor * n_draws) / n_chains)
    wanted = f"{'' if is_sample else 'eval.'}n_samples={n:.0f}"
    worth = f"their effective number is {sizes[key]:.0f} of {n_draws:.0f}, and more than {ENOUGH} is asked for"
    if word == "few draws":
        yield f"The draws are few, not correlated ({worth}): ask for more, {wanted}."
    elif word == "correlated":
        # Draws that are further apart are no more than there are.
        has_enough = is_sample and n_draws >= MARGIN * ENOUGH
        thinner = f"thin {math.ceil(factor)} times as large, or " if has_enough else ""
        yield f"The draws of a chain are correlated ({worth}): take {thinner}{wanted}."


def _rounded_up(n: float) -> float:
    """The next number with two digits: 4,481 → 4,500."""
    unit = 10.0 ** max(0, math.floor(math.log10(n)) - 1)
    return math.ceil(n / unit) * unit


def _crossing(values: Values) -> str:
    """The way to chains that cross between modes: tempering, or a better ladder."""
    group, option, _ = sampler_keys(values)
    if "sampler/rhat_second" in values:
        return f" Tempered chains were no better: try {option}=tempering {group}.hottest=100 {group}.n_replicas=10."
    if "sampler/swap_rate" not in values:
        return f" With {option}=tempering they cross between separate modes."
    if verdict("sampler/swap_rate", values).good is False:
        return f" Neighbouring temperatures hardly exchange: raise {group}.n_replicas."
    if verdict("sampler/round_trips", values).good is False:
        return f" Few positions have gone up and down the ladder: take more steps, or fewer {group}.n_replicas."
    return (
        f" Positions travel through the ladder, and even the hottest replica hardly crosses: raise {group}.hottest, or "
        f"lower the last number of {group}.ladder where it is set."
    )


def _acceptance(values: Values) -> Iterator[str]:
    """The cure for a step size that makes chains slow: said where they have not mixed, or hardly move."""
    rate, step = number(values, "sampler/acceptance"), number(values, "sampler/step_size")
    found, unmixed = verdict("sampler/acceptance", values), verdict("sampler/rhat", values).good is False
    if rate is None or step is None or not (unmixed or found.good is False) or n_stuck(values):
        return
    group, _, adapted = sampler_keys(values)
    is_low = found.good is False
    if is_low or found.word == "too high":
        size, change = ("long", "lower") if is_low else ("short", "raise")
        yield (
            f"The steps of the chains are {size} (acceptance {rate:.3g}; {found.reference} is efficient): {change} "
            f"{group}.step_size (now {step:.3g}), or let a burn-in adapt it ({adapted})."
        )


def _bias(values: Values) -> Iterator[str]:
    if verdict("sampler/virial", values).good is False:
        group, option, _ = sampler_keys(values)
        value, exact = number(values, "sampler/virial"), number(values, "sampler/virial_exact")
        assert value is not None
        assert exact is not None
        found = f"E[(x - c) grad f] is {exact + value:.4g} where D T = {exact:.4g} is right"
        if "sampler/acceptance" in values:
            yield f"The chains have not forgotten their start: {found}. Take a longer burn-in."
            return
        if verdict("sampler/virial", values).word != "biased":
            yield (
                f"The chains have not forgotten their start, or their step biases them: {found}. Take a longer "
                f"burn-in first; {option}=mala has no bias by its step."
            )
            return
        yield (
            f"The step of the unadjusted chain biases its samples: E[(x - c) grad f] is {exact + value:.4g} where an "
            f"exact chain has D T = {exact:.4g}. Lower {group}.step_size (where burn-in finds it, "
            f"{group}.energy_error), or take a sampler with a Metropolis test, as {option}=mala."
        )


def _foreign(values: Values) -> Iterator[str]:
    """Foreign rows that have lower energies than the data; `ood_auroc` repeats one of the kinds."""
    for key in values:
        if key.startswith("eval/ood_auroc_") and verdict(key, values).word == REVERSED:
            share = number(values, key) or 0.0
            yield (
                f"{describe(key).label} is {REVERSED}: of a foreign and a held-out row, the foreign one has the higher "
                f"energy in only {share:.0%} of the pairs, so that the model takes such rows for more likely than the "
                "data. Do not detect them by their energy."
            )
