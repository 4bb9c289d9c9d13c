"""When validation rows refuse a correction of a trained energy that was fitted to its training rows.

A correction has few parameters and many training rows; the validation rows are a seventh as many, and few of them lie
where it changes anything. A loss that chance explains is therefore no reason against it. With the sign alone as the
rule, 56 of 195 runs on tables of known density refused their tails, most of which fresh rows would have kept.
"""

from torch import Tensor

LARGEST_LOSS = 2.0
"""Standard errors that the mean gain of the validation rows may lie below 0."""


def refuse(gains: Tensor) -> bool:
    """True if a correction is to be dropped: its mean gain is below 0 by more than `LARGEST_LOSS` standard errors.

    Args:
        gains: log-density of each validation row with the correction less that without it, nats [N], N ≥ 2.
    """
    return bool(gains.mean() < -LARGEST_LOSS * gains.std() / len(gains) ** 0.5)
