"""One word for what a run is worth, and the sentence that gives the reasons: `eval/overall`.

| word | meaning |
|---|---|
| right | KL ≤ 0.003 nats or within its noise, or samples that no test tells from held-out rows |
| close | small differences: KL ≤ 0.01 nats, or distances of the samples within a few of their nulls |
| fair | not worse than the simple densities of the training rows, but different from the data |
| poor | worse than the better of them on held-out rows, beyond noise and 0.01 nats a dimension (`baselines`) |
| broken | no model of the data: far below the Gaussian, no log Z of its energy, or chains that cannot be trusted |

The first of these that was measured is the *basis*:

1. KL, where the density of the data is known. Within its noise it is right, or fair if that noise is large. Above
   `FAIR` it is poor, or fair where it is not worse than the better simple density.
2. The NLL against the better simple density, with the distances between samples and held-out rows.
3. These distances alone.
4. The Fisher divergence alone, in units of a flat energy's: never right, as it is blind to the weights of modes.

Then other results can only lower the word: chains that never moved or draws that are not finite (broken), probability
outside the data's box, modes with wrong weights, a model worse than a simple density, and any main result with a bad
verdict, with which a run is never right. Without a basis, and for tables on which no likelihood has an upper bound
(`datasets.unbounded`), there is no word, unless the run is broken; the sentence then says why.
"""

from collections.abc import Iterator
from typing import NamedTuple

from ebm_cli.evaluation.baselines import NAMES, better_baseline
from ebm_cli.evaluation.chain_health import problems
from ebm_cli.evaluation.chain_verdicts import n_stuck
from ebm_cli.evaluation.result_description import OOD, Result
from ebm_cli.evaluation.result_registry import QUALITIES, verdict
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.sample_tests import sample_tests
from ebm_cli.evaluation.values import Values, format_value, number
from ebm_cli.evaluation.verdicts import CLOSE, FAIR, word_of_kl

WORDS = ("right", "close", "fair", "poor", "broken")
"""From best to worst."""
UNJUDGED = "not judged"
"""In place of the word, where there is none."""
UNBOUNDED = "eval/unbounded"
"""Key of the columns on which no likelihood has an upper bound."""
NOT_A_MODEL = 10.0
"""Nats by which a broken model is worse than the Gaussian: it gives the rows e⁻¹⁰ of its density. In more than ten
dimensions, one nat a coordinate: the Gaussian fitted to images is very narrow in pixels that hardly vary."""
ERROR = 0.1
"""Standard error of the comparison with a simple density, nats: above, the rows are too few to call a model right."""
OUTSIDE = (1e-3, 0.1, 0.5)
"""Shares of the probability outside the data's box above which a model is at best close, fair, broken."""
MODES_POOR = 0.3
"""Mode TV above which a model is poor."""
STILL = 0.1
"""Share of chains that never moved above which the samples are worthless."""
NOT_INTEGRABLE = ("not integrable", "the energy is", "not resolved")
"""Texts by which a missing log Z says that the energy is at fault, and not what was measured."""


class Finding(NamedTuple):
    """A word that a result allows at best, and the reason, a clause without a full stop."""

    word: str
    why: str


class Overall(NamedTuple):
    """Assessment of a run.

    Attributes:
        word: of `WORDS`; empty where the results allow none.
        reasons: clauses, the basis first.
    """

    word: str
    reasons: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """ "close: KL 0.004 nats; 4 % of the probability is in the wrong modes"."""
        return f"{self.word or UNJUDGED}: {'; '.join(self.reasons)}"


def overall(results: Results, n_dims: int = 1) -> Overall:
    """Assess a run by its results alone.

    Args:
        results: of its evaluation.
        n_dims: coordinates of a point.
    """
    not_a_model = max(NOT_A_MODEL, float(n_dims))
    chains, basis = list(_chains(results.values)), _basis(results, n_dims, not_a_model)
    if basis is None or UNBOUNDED in results.values:
        faults = [*chains, *_no_integral(results)]
        broken = tuple(finding.why for finding in faults if finding.word == "broken")
        return Overall("broken", broken) if broken else Overall("", _no_word(results))
    caps = [*chains, *_caps(results.values, basis, n_dims, not_a_model)]
    worst = max((finding.word for finding in (basis, *caps)), key=WORDS.index)
    # What lowers the word comes first: it is the reason for it. Smaller faults say nothing beside a poor model.
    lowering = [cap.why for cap in caps if cap.word == worst and worst != basis.word]
    if worst in ("poor", "broken"):
        return Overall(worst, tuple(lowering) or (basis.why,))
    others = [cap.why for cap in caps if cap.why not in lowering]
    return Overall(worst, (*lowering, basis.why, *others))


def with_overall(results: Results, found: Overall) -> Results:
    """The results with `eval/overall` first; without it where there is no word, which the sentence explains."""
    if not found.word:
        return results
    return Results({"eval/overall": found.word, **results.values}, results.absent, results.notes)


def with_unbounded(results: Results, columns: str) -> Results:
    """The results with `UNBOUNDED` first, where they have numbers that mean nothing on such columns.

    Args:
        results: of an evaluation. A known density has a bounded likelihood, and the distances of samples need none.
        columns: of `datasets.unbounded`; empty if there are none.
    """
    without_bound = {"eval/nll", *NAMES, "eval/ksd", "eval/fisher"} & results.values.keys()
    if not columns or not without_bound or "eval/kl" in results.values:
        return results
    return Results({UNBOUNDED: columns, **results.values}, results.absent, results.notes)


def _no_word(results: Results) -> tuple[str, ...]:
    """The reasons of a run that is not judged."""
    if UNBOUNDED in results.values:
        samples = sample_tests(results)
        why = "the likelihood of this table has no upper bound, so that a better one means nothing"
        named = f"{why}: {results.values[UNBOUNDED]}"
        return (named,) if samples is None else (named, samples.why)
    of_rows = (results.absent.get(key, "") for key in ("eval/nll_vs_gaussian", "eval/mmd", "eval/ksd"))
    few = next((reason for reason in of_rows if "too few" in reason), None)
    if few is not None:
        return (few, "get more rows, or hold out more of them (dataset.test_fraction)")
    no_log_z = results.absent.get("eval/log_z")
    if no_log_z is not None:
        return (f"log Z is not known ({no_log_z})", "metrics=[density,samples] compares samples, too")
    return ("nothing that was measured says what the model is worth", "metrics needs density, samples or score")


def _no_integral(results: Results) -> Iterator[Finding]:
    reason = results.absent.get("eval/log_z", "")
    if any(text in reason for text in NOT_INTEGRABLE):
        yield Finding("broken", f"log Z of the energy was not found ({reason})")


def _basis(results: Results, n_dims: int, not_a_model: float) -> Finding | None:
    values = results.values
    broken = next(_no_integral(results), None)
    if broken is not None:
        return broken
    return _by_kl(values, n_dims, not_a_model) or _by_likelihood(results) or _by_samples(results) or _by_score(values)


def _by_kl(values: Values, n_dims: int, not_a_model: float) -> Finding | None:
    kl, error = number(values, "eval/kl"), number(values, "eval/kl_se")
    if kl is None:
        return None
    shown = f"KL {format_value(kl)}{'' if error is None else f' ± {error:.2g}'} nats"
    if verdict("eval/kl", values).word == "impossible":
        return Finding("fair", f"{shown} is below 0, so log Z is wrong")
    if error is not None and abs(kl) <= 2 * error:
        if 2 * error <= CLOSE:
            return Finding("right", f"{shown}, within its noise")
        return Finding("fair", f"{shown}, too uncertain to say more")
    if kl > not_a_model:
        return Finding("broken", shown)
    excess = better_baseline(values)
    word = word_of_kl(kl, is_worse=excess is None or excess.is_beyond_noise(n_dims))
    if kl <= FAIR or excess is None:
        return Finding(word, shown)
    return Finding(word, f"{shown}, {excess.name} has {format_value(kl - excess.nats)}")


def _by_likelihood(results: Results) -> Finding | None:
    excess, samples = better_baseline(results.values), sample_tests(results)
    if excess is None:
        return None
    compared = excess.compared()
    if samples is None:
        return Finding("fair", f"{compared} (metrics=[density,samples] would compare samples, too)")
    if samples.word == "right" and excess.error > ERROR:
        return Finding("close", f"{compared}, {samples.why}, and the held-out rows are too few to see more")
    # Whether the model is poor is for the likelihood of held-out rows to say, whatever its samples are.
    word = min(samples.word, "fair", key=WORDS.index)
    return Finding(word, f"{samples.why}; {compared}")


def _by_samples(results: Results) -> Finding | None:
    """By the tests between samples and held-out rows alone."""
    found = sample_tests(results)
    return None if found is None else Finding(*found)


def _by_score(values: Values) -> Finding | None:
    fisher, flat = number(values, "eval/fisher"), number(values, "eval/fisher_flat")
    if fisher is None or not flat:
        return None
    ratio = fisher / flat
    word = "close" if ratio <= CLOSE else "fair" if ratio <= FAIR else "poor" if ratio <= 1 else "broken"
    return Finding(word, f"the error of its score is {ratio:.2g} of a flat energy's (blind to the weights of modes)")


def _chains(values: Values) -> Iterator[Finding]:
    """Draws that are no samples: `chain_health`."""
    non_finite = number(values, "sampler/non_finite")
    if non_finite:
        yield Finding("broken", f"{non_finite:.0f} draws of its chains are not finite")
    still, n_chains = n_stuck(values), number(values, "sampler/n_chains")
    if still:
        of_all = "" if n_chains is None else f" of {n_chains:.0f}"
        most = n_chains is None or still > STILL * n_chains
        yield Finding("broken" if most else "close", f"{still:.0f}{of_all} chains never moved")


def _caps(values: Values, basis: Finding, n_dims: int, not_a_model: float) -> Iterator[Finding]:
    excess = better_baseline(values)
    if excess is not None and excess.is_beyond_noise():
        # A model is broken by the standard of the Gaussian: the mixture of narrow clusters may be far better than it.
        below_gaussian = number(values, "eval/nll_vs_gaussian") or 0.0
        poor = "broken" if below_gaussian > not_a_model else "poor"
        yield Finding(poor if excess.is_beyond_noise(n_dims) else "close", excess.worse())
    outside = number(values, "eval/border_mass")
    if outside is not None and outside > OUTSIDE[0]:
        word = "close" if outside <= OUTSIDE[1] else "fair" if outside <= OUTSIDE[2] else "broken"
        yield Finding(word, f"{outside:.1%} of its probability lies outside the data's box")
    worse = worse_than(values)
    if worse:
        yield Finding("close", f"worse than its own {' and '.join(name for name, _ in worse)}")
    share = number(values, "eval/mode_tv")
    if share is not None and verdict("eval/mode_tv", values).good is False:
        by_kl = number(values, "eval/kl") is not None
        word = "poor" if share > MODES_POOR else "close" if by_kl else "fair"
        yield Finding(word, f"{share:.1%} of the probability is in the wrong modes")
    named = {"eval/kl", "eval/mode_tv", *NAMES}
    others = [result for result in QUALITIES if result.key not in named and _is_of_the_model(result)]
    bad = [r for r in others if verdict(r.key, values).good is False and r.label not in basis.why]
    if bad and basis.word in ("right", "close"):
        described = (f"{result.label} ({verdict(result.key, values).word})" for result in bad[:4])
        yield Finding("close", f"{', '.join(described)}")


def worse_than(values: Values) -> list[tuple[str, float]]:
    """The densities that the method trained beside the energy and that describe the same rows better than it.

    Returns:
        Name of the density, and by how many nats the energy's NLL is above its own; beyond the noise of the NLL.
    """
    nll, error = number(values, "eval/nll"), number(values, "eval/nll_se") or 0.0
    names = [key[len("eval/") : -len("_nll")] for key in values if key.startswith("eval/") and key.endswith("_nll")]
    found = {name: number(values, f"eval/{name}_nll") for name in names}
    excess = {name: nll - own for name, own in found.items() if nll is not None and own is not None}
    return [(name, nats) for name, nats in excess.items() if nats > max(CLOSE, 2 * error)]


def _is_of_the_model(result: Result) -> bool:
    """False for the detection of foreign rows, which is another task, and for a flow's own results."""
    return result.section != OOD and not result.name.startswith("flow")


def untrusted(values: Values, strict: bool = False) -> str | None:
    """Why a finished command is not to be trusted, for exit code 4; None if it is.

    Args:
        values: in results.json.
        strict: whether an overall poor or broken is a reason, too.
    """
    found = problems(values)
    if found:
        return " ".join(found)
    word = values.get("eval/overall")
    if strict and word in ("poor", "broken"):
        return f"eval/overall is {word}, and strict=true"
    return None
