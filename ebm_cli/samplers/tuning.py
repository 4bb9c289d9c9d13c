"""When the ladder of a tempered kernel is tuned in burn-in: after stretches that double, each by what it has shown."""

from typing import TypeVar

from ebm_cli.samplers.base import Info, Kernel

K = TypeVar("K", bound=Kernel)


class Tuning:
    """Tunes a kernel with a ladder at 1/16, 1/8, 1/4, 1/2 and the end of some steps; leaves any other as it is.

    Args:
        n_steps: in all.
    """

    def __init__(self, n_steps: int) -> None:
        self._ends = [n_steps >> shift for shift in (4, 3, 2, 1, 0)]
        self._done, self._start = 0, 0
        self._total: Info | None = None

    def tuned(self, kernel: K, info: Info, n: int = 1) -> K:
        """The kernel after n more steps, over which `info` is the mean."""
        if not kernel.has_ladder or n == 0:
            return kernel
        self._total = info.over(1 / n).added_to(self._total)
        before, self._done = self._done, self._done + n
        if not any(before < end <= self._done for end in self._ends):
            return kernel
        mean = self._total.over(self._done - self._start)
        self._start, self._total = self._done, None
        return kernel.tuned(mean)
