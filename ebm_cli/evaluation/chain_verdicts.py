"""Verdicts on chains: whether they mixed, moved, are many enough, and how far an unadjusted step biases them."""

from ebm_cli.evaluation.values import Values, number
from ebm_cli.evaluation.verdicts import Rule, Verdict, plus_minus

MIXED, ENOUGH = 1.01, 400
"""R̂ and effective sample size that Vehtari et al. (2021) ask for."""
UNMIXED = 1.1
"""R̂ from which an effective sample size means nothing, however large."""
UNMET = "not mixed"
"""Grade of what means nothing, or less, because the chains have not met."""
SEPARATED = 2.0
"""Separation of two groups of chains from which they are in regions of their own."""
MANY_CHAINS = 20
"""Chains from which the spread of their means gives the standard error of the virial."""
THREE_SIGMA = 0.99865
"""Probability of a normal number below 3."""
INDEPENDENT = 0.5
"""Share of the draws from which an effective sample size is small because the draws are few."""
UNBIASED = 0.02
"""Virial, in units of D T, up to which the bias of an unadjusted chain is small: 1 % of the energy's spread."""
RARE = 0.1
"""Rate of exchange of two neighbours up to which a ladder has a gap; 0.2 to 0.6 is efficient."""
FEW_TRIPS = 10
"""Round trips of a chain below which its modes are still those of its start."""
ACCEPTED = (0.4, 0.9)
"""Acceptance rates of an efficient chain, where the results do not give those of its sampler."""


def _chain_temperature(key: str, value: float, values: Values) -> Verdict:
    error = number(values, f"{key}_se") or 0.0
    reference = plus_minus("1", error)
    if abs(value - 1) <= 0.02:
        return Verdict(reference, "right", True)
    if abs(value - 1) <= 3 * error:
        return Verdict(reference, "within noise", True)
    return Verdict(reference, "too hot" if value > 1 else "too cold", False)


def _rhat(key: str, value: float, values: Values) -> Verdict:
    return Verdict(f"< {MIXED}", "mixed" if value < MIXED else UNMET, value < MIXED)


def _ess(key: str, value: float, values: Values) -> Verdict:
    rhat = number(values, "sampler/rhat")
    if rhat is not None and rhat >= UNMIXED:
        # Chains that stand apart count as independent draws, of which each is its start.
        return Verdict(f"> {ENOUGH}", UNMET, False)
    if value > ENOUGH:
        return Verdict(f"> {ENOUGH}", "enough", True)
    n_draws = number(values, "sampler/n_draws")
    if n_draws is None:
        return Verdict(f"> {ENOUGH}", "too few", False)
    reference = f"> {ENOUGH}, of {n_draws:.0f} draws"
    return Verdict(reference, "few draws" if value >= INDEPENDENT * n_draws else "correlated", False)


def _acceptance(key: str, value: float, values: Values) -> Verdict:
    low, high = (number(values, f"{key}_{end}") or bound for end, bound in zip(("low", "high"), ACCEPTED, strict=True))
    reference = f"{low:.2g} to {high:.2g}"
    if value < low:
        return Verdict(reference, "too low", False)
    # Slow, but as exact as any other.
    return Verdict(reference, "fine", True) if value <= high else Verdict(reference, "too high")


def _swap_rate(key: str, value: float, values: Values) -> Verdict:
    rarest = number(values, f"{key}_low")
    low = value if rarest is None else rarest
    reference = f"> {RARE}, rarest {low:.2g}"
    return Verdict(reference, "fine", True) if low > RARE else Verdict(reference, "too low", False)


def _round_trips(key: str, value: float, values: Values) -> Verdict:
    return Verdict(f">= {FEW_TRIPS}", "enough" if value >= FEW_TRIPS else "too few", value >= FEW_TRIPS)


def _virial(key: str, value: float, values: Values) -> Verdict:
    error, exact = number(values, f"{key}_se"), number(values, f"{key}_exact")
    reference = plus_minus("0", error)
    if exact is not None:
        reference += f", D T = {exact:.4g}"
    rhat = number(values, "sampler/rhat")
    unmixed = rhat is not None and rhat >= UNMIXED
    if error is not None and abs(value) <= _bound(values) * error:
        return Verdict(reference, "within noise", True)
    if exact is None or error is None:
        return Verdict(reference, UNMET if unmixed else "")  # a few draws say nothing about a bias
    if abs(value) <= UNBIASED * exact:
        return Verdict(reference, "small", True)
    # Chains that have not met have not all forgotten their start, which is a bias that no step size has caused.
    return Verdict(reference, UNMET if unmixed else "biased", False)


def _bound(values: Values) -> float:
    """Standard errors that chance exceeds as rarely as three of a normal number: a quantile of Student's t.

    Its degrees of freedom are the number of chains less one, by whose spread the error is; few chains are as good as
    `MANY_CHAINS`, since there is an error only where they have that many effective draws several times.
    """
    n_chains = number(values, "sampler/n_chains")
    if n_chains is None:
        return 3.0
    from scipy.special import stdtrit

    return float(stdtrit(max(n_chains, MANY_CHAINS) - 1, THREE_SIGMA))


def chance_of_rest(values: Values) -> float:
    """Number of chains that a Metropolis test leaves where they start by chance: n (1 − a)ᵗ, at an acceptance of a.

    Zero where the number t of transitions is not known, and where a is below its range: then the step size is at fault.
    """
    keys = ("n_chains", "n_steps", "acceptance", "acceptance_low")
    n_chains, n_steps, rate, low = (number(values, f"sampler/{key}") for key in keys)
    if n_chains is None or n_steps is None or rate is None or low is None or rate < low:
        return 0.0
    return float(n_chains * (1 - min(1.0, rate)) ** n_steps)


def n_stuck(values: Values) -> float:
    """Number of the chains that never moved if it is more than chance, by three standard deviations; 0 otherwise."""
    still, expected = number(values, "sampler/never_moved") or 0.0, chance_of_rest(values)
    return still if still > expected + 3 * expected**0.5 else 0.0


def _never_moved(key: str, value: float, values: Values) -> Verdict:
    n_chains = number(values, "sampler/n_chains")
    reference = "" if n_chains is None else f"of {n_chains:.0f} chain{'s' * (n_chains != 1)}"
    if n_stuck(values):
        return Verdict(reference, "stuck", False)
    return Verdict(reference, "by chance" if value else "none stuck", True)


def _non_finite(key: str, value: float, values: Values) -> Verdict:
    n_draws = number(values, "sampler/n_draws")
    reference = "" if n_draws is None else f"of {n_draws:.0f} draw{'s' * (n_draws != 1)}"
    return Verdict(reference, "all finite", True) if value == 0 else Verdict(reference, "diverged", False)


CHAIN_TEMPERATURE = Rule(
    _chain_temperature,
    "1 ± its standard error",
    "right within 0.02, within noise (three standard errors), too hot, too cold",
)
RHAT = Rule(_rhat, f"{MIXED} (Vehtari et al. 2021)", f"mixed < {MIXED} ≤ not mixed")
ESS = Rule(
    _ess,
    f"{ENOUGH} (Vehtari et al. 2021)",
    f"few draws or correlated ≤ {ENOUGH} < enough; correlated below half of the draws; not mixed where R̂ ≥ {UNMIXED}",
)
ACCEPTANCE = Rule(
    _acceptance,
    "the range of the sampler: mala 0.4 to 0.8, hmc 0.6 to 0.9, metropolis 0.15 to 0.5 (0.2 to 0.7 in one dimension)",
    "too low, fine, too high",
)
SWAP_RATE = Rule(_swap_rate, f"{RARE}, and the rarest exchange", f"fine where every rate is above {RARE}, too low")
ROUND_TRIPS = Rule(_round_trips, f"{FEW_TRIPS}", f"too few < {FEW_TRIPS} ≤ enough")
VIRIAL = Rule(
    _virial,
    "0 ± its standard error, and D T",
    f"within noise (three standard errors, 3.4 of {MANY_CHAINS} chains or fewer), "
    f"small ≤ {UNBIASED} D T < biased; not mixed where R̂ ≥ {UNMIXED}",
)
NEVER_MOVED = Rule(
    _never_moved,
    "the number of chains",
    "none stuck at 0; by chance, within three standard deviations of what so few transitions leave; stuck",
)
NON_FINITE = Rule(_non_finite, "the number of draws", "all finite at 0, diverged")
