"""What a number is to be held against, and what it says in a word.

A distance without its noise floor says nothing: every result has a reference (the truth, the null between two samples
of the data, a threshold of the literature) and, where that allows one, a verdict:

    KL, and what is on its scale          close ≤ 0.01 < fair ≤ 0.1 < far        (nats; 1/KL rows tell model from data)
    distances between samples, KSD        within noise where p > 0.01, else differs
    feature distance                      within noise where p > 0.01, else close ≤ 3 nulls < far
    coverage of classes                   reached ≥ 0.9, else classes missed
    nearest training rows, against data's copies < 0.7 ≤ new ≤ 1/0.7 < off the data
    AUROC of the energy                   told apart ≥ 0.95 > in part ≥ 0.5 > reversed
    chains                                mixed where R̂ < 1.01, enough where ESS > 400   (Vehtari et al. 2021)
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ebm_cli.reporting.format import format_value
from ebm_cli.reporting.jsonl import Value

Results = Mapping[str, Value]

CLOSE, FAIR = 0.01, 0.1
"""Nats: about 1/KL rows are needed to tell a model from its data."""
SIGNIFICANT = 0.01
"""Of a p-value: five distances are judged at once, and a right model should pass them all."""
MIXED, ENOUGH = 1.01, 400
"""R̂ and effective sample size that Vehtari et al. (2021) ask for."""
LOG_Z_AGREES = 0.02
"""Nats: the learned log Z counts as right within this, or within two standard errors of the independent one."""

NULLS = 3
"""A feature distance up to so many nulls is close: samples then differ from the data by less than two of their own
samples' noise."""
REACHED = 0.9
"""Of the classes: nine of ten digits."""
COPIES = 0.7
"""Of the distance to the nearest training row, samples against held-out rows."""
RELIABLE = 0.9
"""Accuracy from which on a classifier's word on samples is taken."""
APART = 0.95
"""AUROC."""


class Verdict(NamedTuple):
    """What a value is held against, a word for how it does, and whether that is good; empty and None where neither."""

    reference: str = ""
    word: str = ""
    good: bool | None = None


def verdict(key: str, results: Results) -> Verdict:
    """The verdict on one of the results, in the light of the others; an empty one where there is no rule."""
    rule = _RULES.get(key)
    value = _number(results, key)
    if rule is not None and value is not None:
        return rule(key, value, results)
    return Verdict()


def attendants(results: Results) -> set[str]:
    """Keys that are shown in the reference of another one, and need no row of their own."""
    suffixes = ("_null", "_null_sd", "_p", "_se")
    found = {key for key in results for suffix in suffixes if key.removesuffix(suffix) in results.keys() - {key}}
    return found | (_ATTENDANTS & results.keys())


_ATTENDANTS = {
    *("eval/border_mass", "eval/fisher_flat", "eval/log_z_method", "eval/log_z_ess", "eval/log_z_grid"),
    *("eval/log_z_ais_upper", "eval/log_z_ais_gap"),
}


def _number(results: Results, key: str) -> float | None:
    value = results.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _graded(value: float) -> tuple[str, bool]:
    return ("close", True) if value <= CLOSE else ("fair", True) if value <= FAIR else ("far", False)


def _kl(key: str, value: float, results: Results) -> Verdict:
    error = _number(results, f"{key}_se")
    reference = "0" if error is None else f"0 ± {error:.2g}"
    if error is not None and abs(value) <= 2 * error:
        return Verdict(reference, "within noise", True)
    return Verdict(reference, *_graded(value))


def _nll(key: str, value: float, results: Results) -> Verdict:
    entropy, error = _number(results, "eval/entropy"), _number(results, f"{key}_se")
    if entropy is not None:
        return Verdict(f"entropy {format_value(entropy)}")
    return Verdict("" if error is None else f"± {error:.2g}")


def _mse(key: str, value: float, results: Results) -> Verdict:
    # Near the truth E(log p − log p_θ)² = 2 KL.
    return Verdict("0", *_graded(value / 2))


def _fisher(key: str, value: float, results: Results) -> Verdict:
    flat = _number(results, "eval/fisher_flat")
    if flat is None:
        return Verdict("0")
    return Verdict(f"flat: {format_value(flat)}", *_graded(value / flat))


def _log_z(key: str, value: float, results: Results) -> Verdict:
    how, error = results.get("eval/log_z_method"), _number(results, "eval/log_z_se")
    if error is not None:
        ess = _number(results, "eval/log_z_ess")
        seen = "" if ess is None else f", ESS {ess:.0f}"
        return Verdict(
            f"{how} ± {format_value(error)}{seen}", *(("precise", True) if error <= 0.1 else ("rough", False))
        )
    outside = _number(results, "eval/border_mass")
    return Verdict(f"{how}" if outside is None or how == "exact" else f"{how}, {outside:.0e} outside", "exact", True)


def _learned_log_z(key: str, value: float, results: Results) -> Verdict:
    log_z = _number(results, "eval/log_z")
    return Verdict("" if log_z is None else f"integral {format_value(log_z)}")


def _log_z_gap(key: str, value: float, results: Results) -> Verdict:
    error = _number(results, "eval/log_z_se") or 0.0
    agrees = abs(value) <= max(LOG_Z_AGREES, 2 * error)
    return Verdict("0", "agrees" if agrees else "off", agrees)


def _mode_tv(key: str, value: float, results: Results) -> Verdict:
    null = _number(results, f"{key}_null")
    floor = 0.0 if null is None else null
    reference = "0" if null is None else f"data: {null:.2g}"
    return Verdict(reference, *(("right", True) if value <= 0.02 + 2 * floor else ("wrong", False)))


def _against_null(key: str, value: float, results: Results) -> Verdict:
    null, p = _number(results, f"{key}_null"), _number(results, f"{key}_p")
    parts = [] if null is None else [f"data: {null:.2g}"]
    if p is None:
        return Verdict(", ".join(parts))
    parts.append(f"p {p:.2g}")
    return Verdict(", ".join(parts), *(("within noise", True) if p > SIGNIFICANT else ("differs", False)))


def _feature_distance(key: str, value: float, results: Results) -> Verdict:
    found, null = _against_null(key, value, results), _number(results, f"{key}_null")
    if null is None or found.good:
        return found
    return Verdict(found.reference, *(("close", True) if value <= NULLS * null else ("far", False)))


def _coverage(key: str, value: float, results: Results) -> Verdict:
    null = _number(results, f"{key}_null")
    reference = "1" if null is None else f"data: {null:.2g}"
    return Verdict(reference, *(("reached", True) if value >= REACHED else ("classes missed", False)))


def _nn_ratio(key: str, value: float, results: Results) -> Verdict:
    error = _number(results, f"{key}_se")
    reference = "1" if error is None else f"1 ± {error:.2g}"
    if value < COPIES:
        return Verdict(reference, "copies", False)
    return Verdict(reference, *(("new", True) if value <= 1 / COPIES else ("off the data", False)))


def _accuracy(key: str, value: float, results: Results) -> Verdict:
    chance = _number(results, f"{key}_null")
    reference = "" if chance is None else f"guessing: {chance:.2g}"
    return Verdict(reference, *(("reliable", True) if value >= RELIABLE else ("unreliable", False)))


def _auroc(key: str, value: float, results: Results) -> Verdict:
    error = _number(results, f"{key}_se")
    reference = "1" if error is None else f"1 ± {error:.2g}"
    if value >= APART:
        return Verdict(reference, "told apart", True)
    return Verdict(reference, "in part" if value >= 0.5 else "reversed", False)


def _gain(key: str, value: float, results: Results) -> Verdict:
    error = _number(results, f"{key}_se")
    if error is None:
        return Verdict("0")
    word, good = ("better", True) if value < -2 * error else ("worse", False) if value > 2 * error else ("equal", True)
    return Verdict(f"0 ± {error:.2g}", word, good)


def _temperature(key: str, value: float, results: Results) -> Verdict:
    error = _number(results, f"{key}_se") or 0.0
    near = abs(value - 1) <= max(0.02, 3 * error)
    word = "right" if near else "too hot" if value > 1 else "too cold"
    return Verdict(f"1 ± {error:.2g}", word, near)


def _rhat(key: str, value: float, results: Results) -> Verdict:
    return Verdict(f"< {MIXED}", *(("mixed", True) if value < MIXED else ("not mixed", False)))


def _ess(key: str, value: float, results: Results) -> Verdict:
    return Verdict(f"> {ENOUGH}", *(("enough", True) if value > ENOUGH else ("too few", False)))


def _acceptance(key: str, value: float, results: Results) -> Verdict:
    return Verdict("0.4 to 0.9", *(("fine", True) if 0.4 <= value <= 0.9 else ("", None)))


def _log_z_ais(key: str, value: float, results: Results) -> Verdict:
    log_z, error = _number(results, "eval/log_z"), _number(results, f"{key}_se")
    upper = _number(results, f"{key}_upper")
    reference = "" if error is None else f"± {error:.2g}"
    if upper is not None:
        reference += f", below {format_value(upper)}"
    if log_z is None or error is None:
        return Verdict(reference)
    agrees = abs(value - log_z) <= max(LOG_Z_AGREES, 3 * error)
    return Verdict(reference, "agrees" if agrees else "off", agrees)


_Rule = Callable[[str, float, Results], Verdict]
_RULES: dict[str, _Rule] = {
    "eval/kl": _kl,
    "eval/nll": _nll,
    "eval/nll_vs_gaussian": _gain,
    "eval/log_density_mse": _mse,
    "eval/fisher": _fisher,
    "eval/log_z": _log_z,
    "eval/log_z_ais": _log_z_ais,
    "eval/log_z_learned": _learned_log_z,
    "eval/log_z_gap": _log_z_gap,
    "eval/mode_tv": _mode_tv,
    "eval/flow_kl": _kl,
    "eval/ksd": _against_null,
    "eval/mmd": _against_null,
    "eval/energy_distance": _against_null,
    "eval/sliced_wasserstein": _against_null,
    "eval/c2st": _against_null,
    "eval/classifier_accuracy": _accuracy,
    "eval/feature_distance": _feature_distance,
    "eval/class_tv": _against_null,
    "eval/coverage": _coverage,
    "eval/nn_ratio": _nn_ratio,
    "eval/ood_auroc": _auroc,
    "eval/ood_auroc_uniform": _auroc,
    "eval/ood_auroc_shuffled": _auroc,
    "eval/ood_auroc_other": _auroc,
    "eval/chain_temperature": _temperature,
    "sampler/rhat": _rhat,
    "sampler/ess_bulk": _ess,
    "sampler/ess_tail": _ess,
    "sampler/acceptance": _acceptance,
}


def meanings(results: Results) -> list[str]:
    """Sentences for what a table does not say: a log Z that is off, wrong mode weights, a chain's temperature."""
    found = []
    gap = _number(results, "eval/log_z_gap")
    if gap is not None:
        found.append(
            f"The trained log Z is {abs(gap):.3g} nats {'above' if gap > 0 else 'below'} the integral: exp(-f)/Z with "
            f"the trained Z sums to {math.exp(-gap):.4g}. Only the integral enters the densities here."
        )
    weights, fisher = verdict("eval/mode_tv", results), verdict("eval/fisher", results)
    if weights.good is False:
        share = _number(results, "eval/mode_tv")
        also = (
            " Its score is right nearly everywhere that data are (Fisher divergence): the weights of separated modes, "
            "which a score does not show, are what is wrong."
            if fisher.word == "close"
            else ""
        )
        found.append(f"{share:.1%} of the probability sits in the wrong modes.{also}")
    temperature = verdict("eval/chain_temperature", results)
    if temperature.good is False:
        value = _number(results, "eval/chain_temperature")
        found.append(
            f"The method's own chains sample exp(-f/T) at T = {value:.3g}: what they draw is not what the energy says."
        )
    if verdict("sampler/rhat", results).good is False:
        found.append(
            "The chains have not met (R-hat): each stays near where it began. Mode weights in the samples are those of "
            "the annealed start, not of the chains."
        )
    return found
