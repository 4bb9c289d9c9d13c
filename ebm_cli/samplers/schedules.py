"""Schedules: fields of a kernel that change from step to step, for annealed chains."""

from collections.abc import Callable, Mapping

from ebm_cli.errors import require_positive

Schedule = Callable[[int], Mapping[str, float]]
"""Index of a step, from 0 → the kernel's fields that differ in that step: {"step_size": …, "temperature": …}."""


def geometric(n_steps: int, **ends: tuple[float, float]) -> Schedule:
    """Make a schedule that multiplies each named field by a constant factor a step, from its first value to its last.

    `geometric(1000, temperature=(10.0, 1.0))` is simulated annealing.

    Args:
        n_steps: ≥ 2; step n_steps − 1 is the first at the last values, which all later steps keep.
        ends: name of a kernel's field → (first, last), both > 0.

    Raises:
        ValueError: a number is out of range.
    """
    if n_steps < 2:
        raise ValueError(f"n_steps must be >= 2, got {n_steps}")
    for name, values in ends.items():
        for value in values:
            require_positive(**{name: value})

    def fields(i: int) -> dict[str, float]:
        t = min(i / (n_steps - 1), 1.0)
        return {name: first ** (1 - t) * last**t for name, (first, last) in ends.items()}

    return fields
