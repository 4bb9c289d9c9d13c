"""Verdicts on results: each compares a value with its reference and grades it.

A distance means nothing without its noise floor: every rule has a reference (the truth, the null between two samples of
the data, a threshold of the literature) and, where that allows one, a grade. A rule says its thresholds itself, for the
reference page; `evaluation.result_registry` assigns rules to results.

The size of an error has one scale, in a row of a table as in the word for the whole run (`evaluation.overall`): right,
close, fair, poor. A row says what the run would be called by this result alone.
"""

from collections.abc import Callable
from typing import NamedTuple

from ebm_cli.evaluation.baselines import better_baseline
from ebm_cli.evaluation.values import Values, format_value, number

RIGHT, CLOSE, FAIR = 0.003, 0.01, 0.1
"""KL, nats, up to which a model is right, close, fair: about 1/KL rows are needed to tell it from the data."""
P_DIFFERS = 0.01
"""A p-value up to this means that samples differ: of the five distances, a correct model should pass all."""
LOG_Z_AGREES = 0.02
"""Nats: a log Z agrees with the independent one within this, or within two or three standard errors."""
LOG_Z_CLOSE = 0.1
"""Nats: up to this a trained log Z is close, since densities by it are wrong by a tenth at most."""
LOG_Z_PRECISE = 0.1
"""Nats: standard error up to which an annealed log Z is precise."""
WEIGHTS = 10
"""Effective number of weights from which the standard error of an annealed log Z means something."""
MODES_RIGHT = 0.02
"""Total variation between mode weights that is right, beside twice its null."""
NULLS, MANY_NULLS = 3, 10
"""Nulls up to which a distance that differs is close, fair: at 3, the samples' excess is below twice the noise of two
data sets."""
REACHED = 0.9
"""Share of the classes: nine of ten digits."""
COPIES = 0.7
"""Distance to the nearest training row, samples over held-out rows, below which samples are copies."""
RELIABLE = 0.9
"""Accuracy from which the classes that a classifier gives to samples are reliable."""
APART = 0.95
"""AUROC from which the energy separates foreign rows from held-out ones."""
GUESSING = 0.5
"""AUROC of a coin."""
REVERSED = "the wrong way round"
"""Grade of an AUROC below it: foreign rows have the lower energies."""


class Verdict(NamedTuple):
    """A value's reference, its grade, and whether the grade is good; empty and None where there is none."""

    reference: str = ""
    word: str = ""
    good: bool | None = None


class Rule(NamedTuple):
    """A rule that gives a verdict on a value, in view of the other results.

    Attributes:
        verdict: (key, value, all results) → verdict.
        reference: what the value is compared with.
        grades: the grades and their thresholds; empty where the rule has none.
    """

    verdict: Callable[[str, float, Values], Verdict]
    reference: str
    grades: str = ""


def word_of_kl(kl: float, *, is_worse: bool) -> str:
    """The word for a KL, or an error of its size, in nats.

    Args:
        kl: the divergence.
        is_worse: whether a simple density of the training rows is better, so that a large KL is poor and not fair.
    """
    if kl > FAIR:
        return "poor" if is_worse else "fair"
    return "right" if kl <= RIGHT else "close" if kl <= CLOSE else "fair"


def _graded_kl(key: str, kl: float, values: Values) -> tuple[str, bool]:
    """The word of a row, and whether it is good; of the energy in view of the simple densities and the run's word."""
    is_of_energy = key in ("eval/kl", "eval/log_density_mse")
    excess = better_baseline(values) if is_of_energy else None
    is_worse = excess is None or excess.is_beyond_noise()
    # Beyond the noise alone, a run of many columns is fair all the same.
    is_worse = is_worse and not (is_of_energy and values.get("eval/overall") in ("right", "close", "fair"))
    return word_of_kl(kl, is_worse=is_worse), kl <= FAIR


def _graded_ratio(ratio: float) -> tuple[str, bool]:
    """The word for the error of a score in units of a flat energy's: never right, as it is blind to mode weights."""
    return ("close", True) if ratio <= CLOSE else ("fair", True) if ratio <= FAIR else ("poor", False)


def plus_minus(centre: str, error: float | None) -> str:
    """Text of a value with its standard error, where it has one."""
    return centre if error is None else f"{centre} ± {error:.2g}"


def _kl(key: str, value: float, values: Values) -> Verdict:
    error = number(values, f"{key}_se")
    reference = plus_minus("0", error)
    if error is not None and abs(value) <= 2 * error:
        return Verdict(reference, "within noise", True)
    if value < -max(CLOSE, 3 * (error or 0.0)):
        # KL is never negative: log Z is too small, or the rows are not from the density of the data.
        return Verdict(reference, "impossible", False)
    return Verdict(reference, *_graded_kl(key, value, values))


def _nll(key: str, value: float, values: Values) -> Verdict:
    entropy, error = number(values, "eval/entropy"), number(values, f"{key}_se")
    if entropy is not None:
        return Verdict(f"entropy {format_value(entropy)}")
    return Verdict("" if error is None else f"± {error:.2g}")


def _nll_vs_baseline(key: str, value: float, values: Values) -> Verdict:
    error = number(values, f"{key}_se")
    if values.get("eval/unbounded"):
        return Verdict(plus_minus("0", error), "means nothing")
    # Below CLOSE both describe the rows equally well, however precise the comparison is.
    noise = max(CLOSE, 2 * (error or 0.0))
    word, good = ("better", True) if value < -noise else ("worse", False) if value > noise else ("equal", True)
    return Verdict(plus_minus("0", error), word, good)


def _log_density_mse(key: str, value: float, values: Values) -> Verdict:
    # Near the truth E(log p − log p_θ)² = 2 KL.
    return Verdict("0", *_graded_kl(key, value / 2, values))


def _fisher(key: str, value: float, values: Values) -> Verdict:
    flat = number(values, "eval/fisher_flat")
    if flat is None:
        return Verdict("0")
    return Verdict(f"flat: {format_value(flat)}", *_graded_ratio(value / flat))


def _log_z(key: str, value: float, values: Values) -> Verdict:
    method, error = values.get("eval/log_z_method"), number(values, f"{key}_se")
    if error is not None:
        ess = number(values, "eval/log_z_ess")
        sample_size = "" if ess is None else f", ESS {ess:.0f}"
        # The standard error of a few weights is itself unknown.
        is_precise = error <= LOG_Z_PRECISE and (ess is None or ess >= WEIGHTS)
        word, good = ("precise", True) if is_precise else ("rough", False)
        return Verdict(f"{method} ± {format_value(error)}{sample_size}", word, good)
    outside = number(values, "eval/border_mass")
    reference = f"{method}, {outside:.0e} outside" if outside and method != "exact" else f"{method}"
    return Verdict(reference, "exact", True)


def _log_z_ais(key: str, value: float, values: Values) -> Verdict:
    log_z, error, upper = number(values, "eval/log_z"), number(values, f"{key}_se"), number(values, f"{key}_upper")
    reference = "" if error is None else f"± {error:.2g}"
    if upper is not None:
        reference += f", below {format_value(upper)}"
    if log_z is None or error is None:
        return Verdict(reference)
    if abs(value - log_z) > max(LOG_Z_AGREES, 2 * error):
        return Verdict(reference, "off", False)
    # What an error as large as the tolerance lets pass is no agreement.
    return Verdict(reference, "agrees", True) if error <= LOG_Z_AGREES else Verdict(reference, "rough", None)


def _log_z_learned(key: str, value: float, values: Values) -> Verdict:
    log_z = number(values, "eval/log_z")
    return Verdict("" if log_z is None else f"integral {format_value(log_z)}")


def _log_z_gap(key: str, value: float, values: Values) -> Verdict:
    error = number(values, "eval/log_z_se") or 0.0
    if abs(value) <= max(LOG_Z_AGREES, 2 * error):
        return Verdict("0", "agrees", True)
    close = abs(value) <= LOG_Z_CLOSE
    return Verdict("0", "close" if close else "off", close)


def _mode_tv(key: str, value: float, values: Values) -> Verdict:
    null, error = number(values, f"{key}_null"), number(values, f"{key}_se")
    reference = plus_minus("0" if null is None else f"data: {null:.2g}", error)
    right = value <= MODES_RIGHT + 2 * max(null or 0.0, error or 0.0)
    return Verdict(reference, "right" if right else "wrong", right)


def _distance(key: str, value: float, values: Values) -> Verdict:
    null, p = number(values, f"{key}_null"), number(values, f"{key}_p")
    parts = [] if null is None else [f"data: {null:.2g}"]
    if p is None:
        return Verdict(", ".join(parts))
    reference = ", ".join([*parts, f"p {p:.2g}"])
    return Verdict(reference, "within noise", True) if p > P_DIFFERS else Verdict(reference, "differs", False)


def _feature_distance(key: str, value: float, values: Values) -> Verdict:
    found, null = _distance(key, value, values), number(values, f"{key}_null")
    if null is None or found.good:
        return found
    word = "close" if value <= NULLS * null else "fair" if value <= MANY_NULLS * null else "poor"
    return Verdict(found.reference, word, word == "close")


def _coverage(key: str, value: float, values: Values) -> Verdict:
    null = number(values, f"{key}_null")
    reference = "1" if null is None else f"data: {null:.2g}"
    # Two samples of the data may miss classes too, where rows are few.
    is_reached = value >= min(REACHED, 1.0 if null is None else null)
    return Verdict(reference, "reached", True) if is_reached else Verdict(reference, "classes missed", False)


def _nn_ratio(key: str, value: float, values: Values) -> Verdict:
    error = number(values, f"{key}_se") or 0.0
    reference = plus_minus("1", number(values, f"{key}_se"))
    if abs(value - 1) <= 2 * error:
        return Verdict(reference, "new", True)
    if value < COPIES:
        return Verdict(reference, "copies", False)
    return Verdict(reference, "new", True) if value <= 1 / COPIES else Verdict(reference, "off the data", False)


def _classifier_accuracy(key: str, value: float, values: Values) -> Verdict:
    chance = number(values, f"{key}_null")
    reference = "" if chance is None else f"guessing: {chance:.2g}"
    return Verdict(reference, "reliable", True) if value >= RELIABLE else Verdict(reference, "unreliable", False)


def _auroc(key: str, value: float, values: Values) -> Verdict:
    error = number(values, f"{key}_se")
    reference = plus_minus("1", error)
    if value >= APART:
        return Verdict(reference, "told apart", True)
    if abs(value - GUESSING) <= 2 * (error or 0.0):
        return Verdict(reference, "no better than guessing", False)
    return Verdict(reference, "partly told apart" if value > GUESSING else REVERSED, False)


_KL_GRADES = (
    f"right ≤ {RIGHT} < close ≤ {CLOSE} < fair ≤ {FAIR} < poor; above, fair where no simple density of the training "
    "rows is better"
)
KL = Rule(
    _kl,
    "0 ± its standard error",
    f"within noise (two standard errors), {_KL_GRADES}; impossible < 0 by three standard errors",
)
NLL = Rule(_nll, "the entropy of the data, where it is known")
NLL_VS_BASELINE = Rule(
    _nll_vs_baseline,
    "0 ± its standard error",
    f"better, equal (two standard errors, or {CLOSE}), worse; means nothing on columns without a bound",
)
LOG_DENSITY_MSE = Rule(_log_density_mse, "0", f"of half the value, which is near KL: {_KL_GRADES}")
FISHER = Rule(_fisher, "that of a flat energy", f"of the ratio: close ≤ {CLOSE} < fair ≤ {FAIR} < poor")
LOG_Z = Rule(
    _log_z,
    "how it was computed, its standard error",
    f"exact; of sampling, precise (± {LOG_Z_PRECISE} nats from {WEIGHTS} weights), rough",
)
LOG_Z_AIS = Rule(
    _log_z_ais,
    "its standard error",
    f"off beyond {LOG_Z_AGREES} nats and two standard errors; else agrees, or rough above ± {LOG_Z_AGREES}",
)
LOG_Z_LEARNED = Rule(_log_z_learned, "the independent log Z")
LOG_Z_GAP = Rule(
    _log_z_gap,
    "0",
    f"agrees within {LOG_Z_AGREES} nats or two standard errors of log Z, close ≤ {LOG_Z_CLOSE} nats < off",
)
MODE_TV = Rule(_mode_tv, "0, or the null", f"right ≤ {MODES_RIGHT} + 2 nulls or standard errors < wrong")
DISTANCE = Rule(_distance, "the null and the p-value", f"within noise where p > {P_DIFFERS}, differs")
FEATURE_DISTANCE = Rule(
    _feature_distance,
    "the null and the p-value",
    f"within noise where p > {P_DIFFERS}, close ≤ {NULLS} nulls < fair ≤ {MANY_NULLS} nulls < poor",
)
COVERAGE = Rule(_coverage, "1, or the null", f"reached ≥ {REACHED}, or the null, > classes missed")
NN_RATIO = Rule(
    _nn_ratio, "1 ± its standard error", f"copies < {COPIES} ≤ new (two standard errors) ≤ 1/{COPIES} < off the data"
)
CLASSIFIER_ACCURACY = Rule(_classifier_accuracy, "guessing", f"reliable ≥ {RELIABLE} > unreliable")
AUROC = Rule(
    _auroc,
    "1 ± its standard error",
    f"told apart ≥ {APART} > partly told apart > no better than guessing ({GUESSING}, two standard errors) > "
    f"{REVERSED}: foreign rows have the lower energies",
)
