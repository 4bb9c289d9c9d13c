"""Causes of a result that is not good, read from the results, the training log and the config of a run.

A symptom (a large KL, wrong modes) is in the results; what to change is here. Every rule looks for one cause, and
returns a sentence with the number that shows it and the key that cures it. They are asked only about a run that is
fair, poor or broken: an unusual number in a run that is right needs no cure.

| cause | shown by | cure |
|---|---|---|
| the data: copies, outliers, few rows | the report on the data | its own |
| images whose neighbours the energy does not see | the report on the data | energy=conv |
| a simple density is better | NLL against the Gaussian and the mixture | energy=tilted, patience |
| noise far from the data | accuracy of nce's classifier near 1 | another noise |
| a flow that cannot follow | accuracy of fce's classifier near 1 | its learning rate |
| blur wider than the data's structure | dsm's sigma and the narrowest mode | method.sigma, method=sm |
| chains that do not follow the energy | their temperature or acceptance | step size, length, another sampler |
| modes too far apart for the method | mode TV of a score or of chains | method=nce |
| probability where no data are | mass outside the data's box | energy.base |
| learning rate too large | share of clipped gradients; the rate itself | optimizer.lr |
| too few steps | monitored value still falling; few steps | steps |
| overfitting | monitored value rose after its best | patience |
| none of these | the method (`method_limits`) | its own |
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ebm_cli.datasets.findings import Finding
from ebm_cli.evaluation.baselines import better_baseline
from ebm_cli.evaluation.result_registry import MONITORED, verdict
from ebm_cli.evaluation.values import Values, format_value, number
from ebm_cli.training.method_limits import limit

SEPARATED = 0.98
"""Accuracy from which a classifier makes almost no error, and learns from almost no row."""
BLURRED = 0.45
"""σ over the width of the narrowest mode from which the blurred density is not close: KL = 0.009 for a Gaussian."""
SHARPER = 0.2
"""σ over that width which hides nothing: KL = 0.0004."""
STUCK = 0.2
"""Acceptance below which chains hardly move."""
OUTSIDE = 0.01
"""Share of the probability outside the data's box."""
CLIPPED = 0.2
"""Share of the logged steps whose gradient was clipped."""
ADAM_RATE = 0.03
"""Learning rate of Adam, ten times the default, above which it is suspected."""
FEW_STEPS = 1000
"""Steps below which a network has hardly moved from its initial weights."""
NOT_FOR_LONGER = ("copies", "few_rows", "outliers", "missing")
"""Findings about the data with which longer training would not help, or make the result worse."""
STILL_FALLING = 0.1
"""Share of all the improvement that came in the last interval between two evaluations."""
RISEN = 0.1
"""Share of all the improvement that was lost after the best evaluation."""


@dataclass(frozen=True)
class Evidence:
    """Everything known about a finished run.

    Attributes:
        results: of results.json.
        history: the lines of metrics.jsonl.
        config: resolved, plain.
        narrowest: width of the narrowest mode of the training rows, standardised units; None if it is not known. Only
            called if a rule needs it.
        data: findings of the report on the data.
    """

    results: Values
    history: Sequence[Values]
    config: Mapping[str, Any]
    narrowest: Callable[[], float | None] = lambda: None
    data: Sequence[Finding] = ()

    def get(self, key: str) -> Any:
        """Value of a dotted key of the config; None if it is not there."""
        node: Any = self.config
        for part in key.split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        return node

    def class_of(self, group: str) -> str:
        """Name of the class of a group's node, such as NCE."""
        return str(self.get(f"{group}._target_")).rpartition(".")[2]

    def at_the_end(self, key: str) -> float | None:
        """Mean of a logged number over the last quarter of its lines; None if it was not logged."""
        logged = [value for row in self.history if (value := number(row, key)) is not None]
        last = logged[-max(1, len(logged) // 4) :]
        return sum(last) / len(last) if last else None

    @property
    def monitored(self) -> list[float]:
        """The monitored values of the run, oldest first; empty if there are fewer than three."""
        for key in (f"{group}/{name}" for name in MONITORED for group in ("val", "eval")):
            values = [value for row in self.history if (value := number(row, key)) is not None]
            if len(values) >= 3:
                return values
        return []


def causes(evidence: Evidence) -> list[str]:
    """Findings about the data first, since no other cure helps before theirs; then, unless the results are right or
    close, their likely causes, each with its cure.
    """
    word = evidence.results.get("eval/overall")
    # Without a word the sentence on top names the columns that are to blame, and training is not.
    is_unbounded = word is None and "eval/unbounded" in evidence.results
    said = [one for one in evidence.data if is_unbounded and one.unbounds and one.kind != "ties"]
    data = [f"Data: {finding}" for finding in evidence.data if finding.bears_on_results and finding not in said]
    if word in ("right", "close") or is_unbounded:
        return data
    found = [*data, *(sentence for rule in RULES for sentence in rule(evidence))]
    # A grade that is not good has a cause.
    needs_one = word is not None and not found
    return list(limit(evidence.results, evidence.class_of("method"), evidence.get)) if needs_one else found


def _images(run: Evidence) -> Iterator[str]:
    yield from (f"Data: {finding}" for finding in run.data if finding.kind == "images")


def _simple_density(run: Evidence) -> Iterator[str]:
    excess = better_baseline(run.results)
    if excess is None or not excess.is_table or not excess.is_beyond_noise():
        return
    beaten = f"{excess.name[0].upper()}{excess.name[1:]}, fitted in seconds, is better by {excess.size}"
    if run.class_of("energy") != "Tilted":
        yield f"{beaten}: choose energy=tilted, which starts at the best simple density and learns what it misses."
    elif run.get("patience") is None:
        yield f"{beaten}, and the energy began at its like: patience=5 evaluates the best step, which may be the first."
    else:
        yield f"{beaten}, and than the density that the energy bends: try energy.reference=mixture."


def _separated_noise(run: Evidence) -> Iterator[str]:
    accuracy = run.at_the_end("train/accuracy")
    if accuracy is None or accuracy < SEPARATED:
        return
    if run.class_of("method") == "FCE":
        rates = run.get("optimizer.lr"), run.get("method.flow_lr")
        yield (
            f"The energy tells data from the flow's samples with accuracy {accuracy:.3f}, and the flow is left behind: "
            f"lower optimizer.lr (now {rates[0]}), or raise method.flow_lr (now {rates[1]})."
        )
        return
    if run.class_of("method") == "CNCE":
        yield (
            f"Rows are told from their perturbed copies with accuracy {accuracy:.3f}, so that most "
            f"teach nothing: lower method.eps (now {run.get('method.eps')}), or set method.whiten=true for correlated "
            "columns."
        )
        return
    if run.class_of("method") == "Bridges":
        yield (
            f"The classifier of one bridge is right with accuracy {accuracy:.3f}, so that most rows teach it nothing: "
            f"raise method.n_bridges (now {run.get('method.n_bridges')}), or lower method.least."
        )
        return
    nearer = {"Uniform": "noise=gaussian, noise=mixture or noise=flow", "FittedMixture": "noise=flow"}
    fitted_longer = "method.fit_steps=10000, which fits the flow longer"
    nearer |= dict.fromkeys(("CouplingFlow", "Coloured", "ZukoFlow"), fitted_longer)
    cure = nearer.get(run.class_of("noise"), "noise=mixture or noise=flow, which are fitted to them")
    yield (
        f"The classifier tells data from noise with accuracy {accuracy:.3f}, so that most rows "
        f"teach it nothing: choose a noise closer to the data, {cure}."
    )


def _blur(run: Evidence) -> Iterator[str]:
    sigma = run.get("method.sigma")
    if run.class_of("method") != "DSM" or not isinstance(sigma, int | float):
        return
    width = run.narrowest()
    if width is not None and sigma > BLURRED * width:
        yield (
            f"method.sigma={sigma:g} hides what is narrower: the narrowest structure of the data has a width of about "
            f"{width:.2g} (standardised units), and dsm learns the density with that blur. Set "
            f"method.sigma={SHARPER * width:.1g}, or method=sm, which needs none."
        )


def _chains(run: Evidence) -> Iterator[str]:
    if run.class_of("method") != "CD":
        return
    step, acceptance = run.get("method.sampler.step_size"), run.at_the_end("train/acceptance")
    found = verdict("eval/chain_temperature", run.results)
    of_none = run.class_of("method.sampler") in ("Langevin", "Underdamped", "MCLMC")
    is_unadjusted = of_none and run.get("method.sampler.test_every") is None
    if acceptance is not None and acceptance < STUCK and not is_unadjusted:
        yield (
            f"The chains of the method accept {acceptance:.1%} of their proposals and hardly move: lower "
            f"sampler.step_size (now {step}), or optimizer.lr, which lets the energy run away from them."
        )
    elif found.good is False and found.word == "too hot" and is_unadjusted:
        yield (
            f"The chains of the method are too hot, since their step is too long for this energy: lower "
            f"sampler.step_size (now {step}), or choose sampler=mala, which has no such bias."
        )
    elif found.good is False:
        longer = f"raise method.k (now {run.get('method.k')})"
        persistent = "" if run.get("method.start") == "persistent" else ", or choose method=pcd, whose chains continue"
        yield f"The method's chains are {found.word}: they end before they follow the energy; {longer}{persistent}."


def _modes(run: Evidence) -> Iterator[str]:
    if verdict("eval/mode_tv", run.results).good is not False:
        return
    name = run.class_of("method")
    reasons = {
        "CD": "the method's chains do not cross between modes that are far apart",
        **dict.fromkeys(("SM", "SSM", "DSM"), "a score does not depend on the weights of modes that are far apart"),
    }
    if name in reasons and run.get("method.weights") != "jarzynski":
        cure = "method=nce noise=mixture learns them, since its noise covers all modes"
        if name != "CD" and run.get("polish") is None:
            cure = "polish=nce mends them in a short second phase, and keeps the score"
        elif name != "CD":
            cure = f"a longer second phase mends them: polish.steps, now {run.get('polish.steps')}"
        elif run.get("method.start") == "persistent":
            cure += "; method.weights=jarzynski with sampler=langevin keeps those of the chains"
        yield f"Wrong mode weights: {reasons[name]}; {cure}."


def _mass_elsewhere(run: Evidence) -> Iterator[str]:
    outside = number(run.results, "eval/border_mass")
    if outside is not None and outside > OUTSIDE:
        base = run.get("energy.base")
        raised = "" if base is None else f" (energy.base, now {base})"
        yield (
            f"{outside:.1%} of the probability lies where there are no data: the energy does not rise there. Raise its "
            f"Gaussian base{raised}, or train with noise or chains that reach there (method=nce, noise=uniform)."
        )


def _learning_rate(run: Evidence) -> Iterator[str]:
    rate, bound = run.get("optimizer.lr"), run.get("clip_grad_norm")
    if not isinstance(rate, int | float):
        return
    norms = [value for row in run.history if (value := number(row, "train/grad_norm")) is not None]
    share = sum(norm > bound for norm in norms) / len(norms) if norms and bound else 0.0
    if share > CLIPPED:
        yield (
            f"The gradient was clipped to clip_grad_norm={bound:g} in {share:.0%} of the logged steps: lower "
            f"optimizer.lr (now {rate:g}), for instance to {rate / 10:g}."
        )
    elif run.class_of("optimizer") in ("Adam", "AdamW") and rate > ADAM_RATE:
        yield f"optimizer.lr={rate:g} is large for {run.class_of('optimizer')}: usual are 0.0003 to 0.003."


def _steps(run: Evidence) -> Iterator[str]:
    steps, values = run.get("steps"), run.monitored
    reached = max((int(row["step"] or 0) for row in run.history if "step" in row), default=0)
    if (
        isinstance(steps, int)
        and 0 < reached < steps
        and run.get("max_seconds") is not None
        and run.get("polish") is None
    ):
        yield f"max_seconds={run.get('max_seconds'):g} ended training at step {reached:,} of {steps:,}: raise it."
    elif isinstance(steps, int) and reached < steps:
        return  # early stopping, or a signal, ended it
    # Those of a second phase are not the method's.
    own = reached if run.get("polish") is None or not isinstance(steps, int) else min(reached, steps)
    if values and values[-1] < values[-2] and values[-2] - values[-1] > STILL_FALLING * (values[0] - values[-1]):
        fell = f"from {format_value(values[-2])} to {format_value(values[-1])}"
        yield f"The monitored value was still falling at the end ({fell}): train longer, steps={2 * own}."
    elif own < FEW_STEPS and not any(finding.kind in NOT_FOR_LONGER for finding in run.data):
        yield f"{own:,} steps are few: train longer, for instance steps={max(5000, 5 * own)}."


def _overfitting(run: Evidence) -> Iterator[str]:
    values = run.monitored
    # With patience the best weights are evaluated already.
    if not values or run.get("patience") is not None:
        return
    best = min(values)
    if values[-1] - best > RISEN * (values[0] - best) and values.index(best) < len(values) - 1:
        yield (
            f"The monitored value rose from {format_value(best)} to {format_value(values[-1])} after its best "
            f"evaluation: patience=3 evaluates best.pt, and ends training there."
        )


RULES: tuple[Callable[[Evidence], Iterator[str]], ...] = (
    _images,
    _simple_density,
    _separated_noise,
    _blur,
    _chains,
    _modes,
    _mass_elsewhere,
    _learning_rate,
    _steps,
    _overfitting,
)
"""Every rule, the most specific first."""
