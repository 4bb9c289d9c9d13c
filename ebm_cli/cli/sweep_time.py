"""The time that a sweep will still take, from the jobs that have ended and from those that run."""

import heapq
from collections.abc import Sequence
from statistics import fmean

from ebm_cli.cli.sweep_watch import JobWatch


class SweepTime:
    """Estimates the seconds until the end of a sweep.

    A running job needs what its speed says, and then as long for its evaluation as those that have ended. Jobs that
    wait take as long as the others in the mean, each on the worker that is free first.

    Where jobs have ended before their last step, the speed says too much: then a job that runs is taken to need the
    mean of those that have ended, as long as it has not taken longer already.

    Args:
        n_workers: jobs at a time.
    """

    def __init__(self, n_workers: int) -> None:
        self._n_workers = n_workers
        self._seconds: list[float] = []
        self._after: list[float] = []
        self._stops_early = False

    @property
    def is_whole(self) -> bool:
        """False while no job has ended: what follows training is not in the estimate."""
        return bool(self._seconds)

    def ended(self, watch: JobWatch) -> None:
        """Take a job that has ended into account, and not one that was skipped because it had finished before."""
        if not watch.did_work:
            return
        self._seconds.append(watch.seconds)
        after = watch.seconds_since_trained
        if after is None:
            self._stops_early = True
        else:
            self._after.append(after)

    def left(self, running: Sequence[JobWatch], n_waiting: int) -> float | None:
        """Seconds until the end; None while they are unknown.

        Args:
            running: the jobs that run.
            n_waiting: jobs that have not begun.
        """
        found = [self._left_of(watch) for watch in running]
        lefts = [left for left in found if left is not None]
        totals = [
            *self._seconds,
            *(w.seconds + left for w, left in zip(running, found, strict=True) if left is not None),
        ]
        if len(lefts) < len(found) or not totals:
            return None
        workers = [*lefts, *[0.0] * max(0, self._n_workers - len(lefts))]
        heapq.heapify(workers)
        for _ in range(n_waiting):
            heapq.heapreplace(workers, workers[0] + fmean(totals))
        return max(workers)

    def _left_of(self, watch: JobWatch) -> float | None:
        mean = fmean(self._seconds) if self._seconds else None
        after = fmean(self._after) if self._after else 0.0
        since, left = watch.seconds_since_trained, watch.seconds_left
        if since is not None:
            return max(0.0, after - since)
        if mean is not None and (left is None or (self._stops_early and watch.seconds < mean)):
            return max(0.0, mean - watch.seconds)
        return None if left is None else left + after
