"""Ladders of inverse temperatures, and their spacing to equal rejection rates.

The rejections of neighbours add up along the ladder to a function Λ(β) that depends on the target alone as the ladder
becomes fine (the communication barrier). A ladder at equal steps of it has equal rejection rates, and the most round
trips of all ladders with as many replicas. Λ is known at the inverse temperatures of a ladder that has run, and is
taken to be linear in log β between them, as it is for a Gaussian.

Source: Syed, Bouchard-Côté, Deligiannidis & Doucet (2022), JRSS B 84(2), section 5 and algorithm 2 (which interpolates
in β, by cubics).
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import exp, isfinite, log

LEAST = 1e-3
"""Rejection rate that every pair counts with at least: Λ must rise."""


def geometric_ladder(n_replicas: int, hottest: float) -> tuple[float, ...]:
    """n_replicas ≥ 2 inverse temperatures from 1 to 1/hottest, each the same multiple of the last."""
    return (1.0, *(hottest ** (-r / (n_replicas - 1)) for r in range(1, n_replicas)))


def equal_rejections(betas: Sequence[float], rejections: Sequence[float]) -> tuple[float, ...]:
    """As many inverse temperatures, with the same ends, at equal steps of the summed rejections.

    Args:
        betas: 1 = β_1 > … > β_R > 0.
        rejections: of the exchanges of neighbours, in [0, 1] [R − 1]; one that is not a number counts as 1.
    """
    steps = [max(rate, LEAST) if isfinite(rate) else 1.0 for rate in rejections]
    barrier = [0.0, *accumulate(steps)]
    logs = [log(beta) for beta in betas]
    found = []
    for r in range(1, len(betas) - 1):
        wanted = barrier[-1] * r / (len(betas) - 1)
        right = bisect_left(barrier, wanted)
        share = (wanted - barrier[right - 1]) / (barrier[right] - barrier[right - 1])
        found.append(exp(logs[right - 1] + share * (logs[right] - logs[right - 1])))
    return (betas[0], *found, betas[-1])


def require_ladder(betas: Sequence[float]) -> None:
    """Require two or more inverse temperatures that fall from 1 and stay above 0.

    Raises:
        ValueError: they do not.
    """
    # Positive conditions: one on a number that is not one is false.
    if not (len(betas) >= 2 and betas[0] == 1 and betas[-1] > 0 and all(hot < cold for cold, hot in pairwise(betas))):
        raise ValueError(f"ladder must fall from 1 and stay > 0, in two or more numbers, got {list(betas)}")
