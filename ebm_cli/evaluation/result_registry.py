"""Registry of results: every key of results.json and of the training log, described once.

A key is `GROUP/NAME`: `eval/` results of an evaluation, `val/` the same on validation rows during training, `sampler/`
chains, `cost/` time and work, `train/` the training log. Verdicts, units, the columns of `ebm compare`, the main result
of `ebm runs` and docs/reference/results.md all come from `RESULTS`. A key that is not registered, such as one of a
user's own metric, has its name as label and no verdict. Long because the list is one: its order is that of the tables.
"""

import re
from dataclasses import replace
from functools import partial

from ebm_cli.evaluation import chain_verdicts as chain_rules
from ebm_cli.evaluation import verdicts as rules
from ebm_cli.evaluation.result_description import (
    CHAINS,
    COST,
    DENSITY,
    FEATURES,
    NULL,
    OOD,
    OVERALL,
    SAMPLES,
    SCORE,
    SE,
    SUFFIXES,
    TRAINING,
    P,
    Result,
)
from ebm_cli.evaluation.values import Values, number
from ebm_cli.evaluation.verdicts import Verdict

_quality = partial(Result, column="quality")
_cost = partial(Result, COST, column="cost")
_log = partial(Result, TRAINING, better="none")

# One result, one paragraph: the formatter would give each argument a line of its own.
# fmt: off
RESULTS = (
    # The qualities of a model, in the order in which they rank.
    _quality(DENSITY, "eval/kl", "KL", "nats", "low", "KL(p_data‖p_θ)", rules.KL, (SE,), headline=True, monitored=True),
    _quality(DENSITY, "eval/nll", "NLL", "nats", "low", "negative log-likelihood of held-out rows", rules.NLL, (SE,),
             reference="eval/entropy", headline=True, monitored=True, signed=True),
    _quality(DENSITY, "eval/nll_vs_gaussian", "vs Gaussian", "nats", "low",
             "NLL minus that of the Gaussian fitted to the training rows", rules.NLL_VS_BASELINE, (SE,), signed=True),
    _quality(DENSITY, "eval/nll_vs_mixture", "vs mixture", "nats", "low",
             "NLL minus that of the mixture of Gaussians, K by BIC, fitted to the training rows of a table",
             rules.NLL_VS_BASELINE, (SE,), signed=True),
    _quality(DENSITY, "eval/log_density_mse", "log-density MSE", "nats²", "low", "E_data (log p − log p_θ)²",
             rules.LOG_DENSITY_MSE),
    _quality(SCORE, "eval/fisher", "Fisher", "1/unit²", "low", "Fisher divergence ½ E_data ‖∇ log p − ∇ log p_θ‖²",
             rules.FISHER, monitored=True),
    _quality(DENSITY, "eval/mode_tv", "mode TV", "", "low", "total variation between the mode masses of data and model",
             rules.MODE_TV, (NULL, SE)),
    _quality(DENSITY, "eval/log_z_gap", "log Z gap", "nats", "low", "trained log Z − independent log Z",
             rules.LOG_Z_GAP, magnitude=True),
    _quality(SCORE, "eval/ksd", "KSD", "", "low", "kernel Stein discrepancy", rules.DISTANCE, (P,)),
    _quality(SAMPLES, "eval/mmd", "MMD", "", "low", "maximum mean discrepancy between samples and held-out rows",
             rules.DISTANCE, (NULL, P)),
    _quality(SAMPLES, "eval/energy_distance", "energy dist.", "", "low",
             "energy distance between samples and held-out rows", rules.DISTANCE, (NULL, P)),
    _quality(SAMPLES, "eval/sliced_wasserstein", "sliced W", "", "low",
             "sliced Wasserstein distance between samples and held-out rows", rules.DISTANCE, (NULL, P)),
    _quality(SAMPLES, "eval/c2st", "C2ST", "", "half", "accuracy of a classifier between samples and held-out rows; "
             "`_p`: of its class probabilities, which also detect wrong mode weights", rules.DISTANCE, (NULL, P)),
    _quality(DENSITY, "eval/flow_kl", "flow KL", "nats", "low", "KL(p_data‖q) of the trained flow", rules.KL),
    _quality(OOD, "eval/ood_auroc", "OOD AUROC", "", "high",
             "AUROC of the energy between held-out rows and the kind of foreign rows that it separates least",
             rules.AUROC, (SE,)),
    _quality(FEATURES, "eval/coverage", "coverage", "", "high",
             "share of the classes that have among the samples at least a fifth of their share of the held-out rows",
             rules.COVERAGE, (NULL,)),
    _quality(FEATURES, "eval/feature_distance", "feature dist.", "", "low",
             "Fréchet distance between samples and held-out rows in the features of a classifier",
             rules.FEATURE_DISTANCE, (NULL, P)),
    _quality(FEATURES, "eval/class_tv", "class TV", "", "low",
             "total variation between the class shares of samples and of held-out rows", rules.DISTANCE, (NULL, P)),

    # Of the metric groups `Masses` and `Baselines`, where the density of the data is known.
    Result(DENSITY, "eval/mode_error", "mode error", "", "low",
           "largest difference between the mass of a mode and its true mass"),
    Result(DENSITY, "eval/tail_ratio", "tail ratio", "", "low",
           "factor, ≥ 1, by which the mass beyond the true 0.1 % or 99.9 % quantile of the worst column is wrong"),
    Result(DENSITY, "eval/outside", "outside", "", "none",
           "mass of the model outside the box of the training rows"),
    Result(DENSITY, "eval/outside_data", "true outside", "", "none",
           "mass of the data outside the box of the training rows", shown_with="eval/outside"),
    *(Result(DENSITY, f"eval/kl_{name}", f"KL of {name}", "nats", "none", f"KL(p_data‖q) of {what}", signed=True)
      for name, what in (("mixture", "the mixture of Gaussians with its number of components by BIC"),
                         ("kde", "a kernel density estimate with its bandwidth by validation"),
                         ("flow", "a spline flow that is trained for a given time"),
                         ("best_baseline", "the best of these three"))),

    # Other results of an evaluation.
    Result(OVERALL, "eval/overall", "overall", "", "none",
           "what the run is worth: right, close, fair, poor or broken, if anything; `ebm_cli/evaluation/overall.py`"),
    Result(OVERALL, "eval/unbounded", "unbounded", "", "none",
           "columns on which no likelihood has an upper bound, and what to do; there is then no overall word",
           shown_with="eval/overall"),
    Result(DENSITY, "eval/entropy", "entropy", "nats", "none", "entropy of the data: the NLL of the true density",
           signed=True),
    Result(DENSITY, "eval/log_z", "log Z", "nats", "none",
           "log of the integral of exp(−f), in standardised units, computed independently of training",
           rules.LOG_Z, (SE,), signed=True),
    Result(DENSITY, "eval/log_z_method", "log Z by", "", "none",
           "the way to log Z: exact (closed form), grid (quadrature), importance (sampling from a density close to the "
           "model) or ais (annealed importance sampling)",
           shown_with="eval/log_z"),
    Result(DENSITY, "eval/log_z_grid", "log Z by a grid", "nats", "none", "log Z by quadrature, beside a closed form",
           shown_with="eval/log_z", signed=True),
    Result(DENSITY, "eval/border_mass", "border mass", "", "low", "share of the integral outside the grid",
           shown_with="eval/log_z"),
    Result(DENSITY, "eval/log_z_ess", "ESS of log Z", "", "high",
           "effective sample size of the weights of the draws, or of the annealed chains", shown_with="eval/log_z"),
    Result(DENSITY, "eval/log_z_ais", "log Z by annealing", "nats", "none",
           "log Z by annealed importance sampling, beside an exact one; its expectation is a lower bound",
           rules.LOG_Z_AIS, (SE,), signed=True),
    Result(DENSITY, "eval/log_z_ais_upper", "log Z from above", "nats", "none",
           "log Z by annealing from exact samples of the model; its expectation is an upper bound",
           shown_with="eval/log_z_ais", signed=True),
    Result(DENSITY, "eval/log_z_ais_gap", "gap of annealing", "nats", "low", "upper bound − lower bound",
           shown_with="eval/log_z_ais", signed=True),
    Result(DENSITY, "eval/log_z_learned", "trained log Z", "nats", "none", "log Z as the method trained it",
           rules.LOG_Z_LEARNED, signed=True),
    Result(DENSITY, "eval/flow_nll", "flow NLL", "nats", "low",
           "negative log-likelihood of held-out rows under the flow", signed=True),
    Result(DENSITY, "eval/NAME_kl", "NAME KL", "nats", "low", "KL(p_data‖q) of a density NAME that the method trained",
           rules.KL),
    Result(DENSITY, "eval/NAME_nll", "NAME NLL", "nats", "low",
           "negative log-likelihood of held-out rows under a density NAME that the method trained", signed=True),
    Result(DENSITY, "eval/objective", "objective", "", "low",
           "mean loss of the method on held-out rows; comparable only within one method", signed=True),
    Result(SCORE, "eval/fisher_flat", "flat Fisher", "1/unit²", "none",
           "Fisher divergence of a flat energy: ½ E_data ‖∇ log p‖²", shown_with="eval/fisher"),
    Result(FEATURES, "eval/nn_ratio", "nn ratio", "", "none",
           "median distance to the nearest training row, samples over held-out rows", rules.NN_RATIO, (SE,)),
    Result(FEATURES, "eval/classifier_accuracy", "accuracy", "", "none",
           "accuracy on held-out rows of the classifier behind the features", rules.CLASSIFIER_ACCURACY, (NULL,),
           null="share of the most frequent class: the accuracy of guessing"),
    *(Result(OOD, f"eval/ood_auroc_{name}", f"AUROC {name}", "", "high", f"AUROC of the energy against {rows}",
             rules.AUROC, (SE,))
      for name, rows in (("uniform", "uniform noise in the data's box"),
                         ("shuffled", "training rows with their values shuffled"),
                         ("other", "rows of another data set"))),
    Result(CHAINS, "eval/chain_temperature", "temperature", "", "none",
           "temperature T at which the ends of the method's own chains sample exp(−f/T)",
           chain_rules.CHAIN_TEMPERATURE, (SE,)),

    # Chains, of an evaluation and of `ebm sample`.
    Result(CHAINS, "sampler/init", "start", "", "none",
           "where the chains of `ebm sample` started: annealed, noise, data, or a file"),
    Result(CHAINS, "sampler/drawn_by", "sampler", "", "none",
           "of an evaluation: the sampler whose chains the samples are from; tempering, where those of another had not "
           "mixed (`eval.fallback`)"),
    Result(CHAINS, "sampler/rhat_first", "first R-hat", "", "low",
           "split rank-normalised R̂ of the chains that had not mixed, and that tempered ones followed"),
    Result(CHAINS, "sampler/rhat_second", "second R-hat", "", "low",
           "split rank-normalised R̂ of tempered chains that were no better, so that the samples are not theirs"),
    Result(CHAINS, "sampler/acceptance", "acceptance", "", "none",
           "mean acceptance rate, of a sampler with a Metropolis test", chain_rules.ACCEPTANCE),
    Result(CHAINS, "sampler/acceptance_low", "lowest good acceptance", "", "none",
           "acceptance rate from which the sampler is efficient", shown_with="sampler/acceptance"),
    Result(CHAINS, "sampler/acceptance_high", "highest good acceptance", "", "none",
           "acceptance rate up to which the sampler is efficient", shown_with="sampler/acceptance"),
    Result(CHAINS, "sampler/jumps", "jumps", "", "high",
           "mean acceptance rate of the jumps between modes: proposals from the density that the energy bends"),
    Result(CHAINS, "sampler/swap_rate", "exchanges", "", "none",
           "of tempered chains: rate at which neighbouring temperatures exchange, mean over the ladder",
           chain_rules.SWAP_RATE),
    Result(CHAINS, "sampler/swap_rate_low", "rarest exchange", "", "none",
           "rate of exchange of the two neighbours that exchange least", shown_with="sampler/swap_rate"),
    Result(CHAINS, "sampler/round_trips", "round trips", "per chain", "high",
           "of tempered chains: positions that went from the cold end of the ladder to the hot one and came back, in "
           "the transitions of the draws", chain_rules.ROUND_TRIPS),
    Result(CHAINS, "sampler/ladder", "ladder", "", "none",
           "temperatures of the replicas of tempered chains, in units of that of the target",
           shown_with="sampler/swap_rate"),
    Result(CHAINS, "sampler/virial", "virial", "nats", "none",
           "E[(x − c)·∇f] − D T over the draws, c their mean: bias by the step of a sampler without a Metropolis test, "
           "and of any by a start that is not forgotten",
           chain_rules.VIRIAL, (SE,), signed=True),
    Result(CHAINS, "sampler/virial_exact", "exact virial", "nats", "none", "D T, what E[(x − c)·∇f] is without a bias",
           shown_with="sampler/virial"),
    Result(CHAINS, "sampler/never_moved", "never moved", "chains", "low",
           "number of chains that never left their start", chain_rules.NEVER_MOVED),
    Result(CHAINS, "sampler/n_chains", "chains", "", "none", "number of chains", shown_with="sampler/never_moved"),
    Result(CHAINS, "sampler/n_steps", "transitions", "", "none", "transitions of a chain up to its last draw, from the "
           "point that it is compared with to see whether it moved", shown_with="sampler/never_moved"),
    Result(CHAINS, "sampler/non_finite", "not finite", "draws", "low",
           "number of draws with a coordinate that is not finite", chain_rules.NON_FINITE),
    Result(CHAINS, "sampler/n_draws", "draws", "", "none", "number of draws of all chains",
           shown_with="sampler/non_finite"),
    Result(CHAINS, "sampler/step_size", "step size", "", "none", "step size of the kernel, after adaptation"),
    Result(CHAINS, "sampler/rhat", "R-hat", "", "low",
           "split rank-normalised R̂ of the worst coordinate, of the chains that moved",
           chain_rules.RHAT),
    Result(CHAINS, "sampler/separation", "separation", "", "none",
           "distance between two groups of chains in the coordinate with the worst R̂, in widths of what one chain "
           "explores; 0 where each chain drifts itself", shown_with="sampler/rhat"),
    Result(CHAINS, "sampler/ess_bulk", "ESS", "", "high",
           "bulk effective sample size of the worst coordinate, at most the number of different draws",
           chain_rules.ESS),
    Result(CHAINS, "sampler/ess_tail", "tail ESS", "", "high",
           "tail effective sample size of the worst coordinate, at most the number of different draws",
           chain_rules.ESS),
    Result(CHAINS, "sampler/coordinates", "coordinates", "", "none",
           "of `ebm sample`, a list with one object a coordinate: name, mean, sd, quantiles q5, q50 and q95, "
           "mcse_mean (the Monte Carlo standard error of the mean), rhat, ess_bulk, ess_tail; data units"),
    Result(CHAINS, "sampler/ess_per_grad", "ESS/∇f", "", "high", "bulk effective sample size per evaluation of ∇ₓf"),
    Result(CHAINS, "sampler/ess_per_second", "ESS/s", "1/s", "high", "bulk effective sample size per second"),

    # Rows of a file, of `ebm density`.
    Result(OOD, "density/rows", "rows", "rows", "none", "rows of the file that have a score"),
    Result(OOD, "density/held_out", "held-out rows", "rows", "none", "held-out rows that p-values are computed from"),
    Result(OOD, "density/strange", "strange rows", "rows", "none", "rows whose p-value is at most 0.01"),

    # Costs.
    _cost("cost/steps", "steps taken", "", "none", "training steps, with those of a second phase (`polish`)"),
    _cost("cost/seconds", "seconds", "s", "low", "wall-clock time of training or sampling",
          headline=True),
    _cost("cost/energy_evals", "f", "per row", "low", "evaluations of the energy in a training step"),
    _cost("cost/grad_evals", "∇f", "per row", "low", "evaluations of ∇ₓf in a training step", headline=True),
    _cost("cost/laplacian_evals", "Δf", "per row", "low", "evaluations of second derivatives in x in a training step"),
    _cost("cost/peak_memory_mb", "memory", "MB", "low", "peak memory"),
    Result(COST, "cost/polish_steps", "polish steps", "", "none",
           "training steps of the second phase (`polish`); 0 where `max_seconds` left it out"),
    Result(COST, "cost/eval_seconds", "evaluation", "s", "low", "wall-clock time of the final evaluation"),

    # The training log.
    _log("train/loss", "loss", "", meaning="loss of the player `energy`", signed=True),
    _log("train/loss_NAME", "loss of NAME", "", meaning="loss of the player NAME", signed=True),
    _log("train/loss_se", "loss SE", "", meaning="standard error of the loss over the rows of the batch"),
    _log("train/grad_norm", "gradient norm", "", meaning="norm of the gradient in the parameters, before clipping"),
    _log("train/lr_NAME", "learning rate", "", meaning="learning rate of the player NAME"),
    _log("train/energy_gap", "energy gap", "nats", meaning="mean energy of the batch − that of the chains' ends",
         signed=True),
    _log("train/acceptance", "acceptance", "",
         meaning="mean acceptance rate of the method's chains, if they have a Metropolis test"),
    _log("train/jumps", "jumps", "",
         meaning="acceptance of the jumps of the method's chains: proposals from the density that the energy bends"),
    _log("train/swap_rate", "exchanges", "",
         meaning="rate of exchange of the two neighbours that exchange least, of tempered chains"),
    _log("train/step_size", "step size", "", meaning="step size of the method's chains"),
    _log("train/chain_length", "chain length", "steps", meaning="mean length of the chains since their start"),
    _log("train/dead_chains", "dead chains", "", meaning="share of the chains that diverged"),
    _log("train/at_clamp", "at the clamp", "", meaning="share of the coordinates of the chains' ends that are clamped"),
    _log("train/chain_divergence", "chain divergence", "nats", signed=True,
         meaning="gradient surrogate of the divergence of the chains from the model, with method.kl > 0"),
    _log("train/score_norm", "score norm", "1/unit²", meaning="mean of ‖∇f‖² over the batch, standardised units"),
    _log("train/laplacian", "Laplacian", "1/unit²", meaning="mean of tr ∇²f over the batch, or its projection",
         signed=True),
    _log("train/accuracy", "accuracy", "",
         meaning="accuracy of the classifier between data and noise, or of rows and their perturbed copies"),
    _log("train/noise_share", "noise that counts", "",
         meaning="effective share of the noise rows, by their weights exp(−f)/q: near 0 few of them decide"),
    _log("train/perturbation_gap", "perturbation gap", "nats", signed=True,
         meaning="mean energy of the batch − that of the perturbed rows"),
    _log("train/above_bound", "above the bound", "nats",
         meaning="loss of energy discrepancy − its lower bound log(w/M); 0 where every perturbed row is far away"),
    _log("train/log_z", "log Z", "nats", meaning="log Z as the method trains it", signed=True),
    _log("train/data_energy", "data energy", "nats", meaning="mean energy of the batch", signed=True),
    _log("train/flow_nll", "flow NLL", "nats", meaning="negative log-likelihood of the batch under the flow",
         signed=True),
    _log("train/flow_turn", "turn of the flow", "", meaning="1 in a step that trains the flow, 0 in one of the energy"),
)
# fmt: on

QUALITIES, COSTS = (tuple(r for r in RESULTS if r.column == kind) for kind in ("quality", "cost"))
"""The results that a comparison shows by default, in the order of their columns."""
HEADLINES = tuple(result.key for result in QUALITIES if result.headline)
"""Keys, of which the first that a run has is its main result."""
CHAINS_IN_BRIEF = ("sampler/rhat", "sampler/ess_bulk", "sampler/acceptance")
"""Keys of the results of chains that fit into one line."""
SIZES = ("sampler/ess_bulk", "sampler/ess_tail")
"""Effective sizes, which mean nothing where R-hat is not good."""
MIXING = ("sampler/rhat", *SIZES, "sampler/virial")
"""Keys by which `ebm sample … strict=true` judges chains."""
MONITORED = tuple(result.name for result in QUALITIES if result.monitored)
"""Names, without `eval/` or `val/`, of what `monitor=auto` may choose."""

_BY_KEY = {result.key: result for result in RESULTS}
_PATTERNS = [
    (re.compile(re.escape(result.key).replace("NAME", r"(?P<name>\w+)")), result)
    for result in RESULTS
    if "NAME" in result.key
]
_POLISH = "train/polish_"
"""Beginning of the keys of the objective that a second phase adds (`methods.polish`)."""
_VALIDATED = (DENSITY, SCORE)
"""Sections of the results that are also computed on validation rows, as `val/NAME`."""


def registered(key: str) -> Result | None:
    """The description of a key: a result, a companion, the same on validation rows or in a second phase; else None."""
    if key in _BY_KEY:
        return _BY_KEY[key]
    if key.startswith(_POLISH):
        found = registered(f"train/{key.removeprefix(_POLISH)}")
        return None if found is None else _in_second_phase(key, found)
    if key.startswith("val/"):
        found = registered(f"eval/{key.removeprefix('val/')}")
        return _on_validation_rows(key, found) if found is not None and found.section in _VALIDATED else None
    for suffix in SUFFIXES:
        base = _BY_KEY.get(key.removesuffix(suffix))
        if base is not None and suffix in base.companions:
            return _companion(base, suffix)
    for pattern, result in _PATTERNS:
        match = pattern.fullmatch(key)
        if match is not None:
            label, meaning = (text.replace("NAME", match["name"]) for text in (result.label, result.meaning))
            return replace(result, key=key, label=label, meaning=meaning)
    return None


def describe(key: str) -> Result:
    """The description of a key; one that is not registered is better lower under `eval/` and `cost/`, else unranked."""
    ranked = key.startswith(("eval/", "cost/")) and not key.endswith(tuple(SUFFIXES))
    name = key.partition("/")[2] or key
    return registered(key) or Result("", key, name, "", "low" if ranked else "none", "", signed=True)


def verdict(key: str, values: Values) -> Verdict:
    """The verdict on one of the results, in view of the others; an empty one where there is no rule or no number."""
    rule, value = describe(key).verdict, number(values, key)
    return Verdict() if rule is None or value is None else rule.verdict(key, value, values)


def companions(values: Values) -> set[str]:
    """Keys that are shown in the reference of another result, and need no row of their own in a table."""
    beside = {key for key in values for suffix in SUFFIXES if key.removesuffix(suffix) in values.keys() - {key}}
    return beside | {key for key in values if describe(key).shown_with}


def _companion(base: Result, suffix: str) -> Result:
    meaning = base.null if suffix == NULL and base.null else SUFFIXES[suffix]
    unit = "" if suffix == P else base.unit
    label = f"{base.label} {suffix[1:]}"
    return Result(base.section, f"{base.key}{suffix}", label, unit, "none", meaning)


def _in_second_phase(key: str, result: Result) -> Result:
    meaning = f"{result.meaning}; of the objective that a second phase adds"
    return replace(result, key=key, label=f"{result.label}, second phase", meaning=meaning)


def _on_validation_rows(key: str, result: Result) -> Result:
    label, meaning = f"validation {result.label}", f"{result.meaning}; on validation rows"
    return replace(result, key=key, label=label, meaning=meaning, verdict=None, column="", shown_with="")
