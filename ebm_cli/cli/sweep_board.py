"""The state of a sweep whose jobs run in worker processes, and the table that shows it."""

from collections.abc import Sequence
from pathlib import Path

from ebm_cli.cli.sweep_failures import JobFailed
from ebm_cli.cli.sweep_time import SweepTime
from ebm_cli.cli.sweep_watch import JobWatch
from ebm_cli.cli.sweep_worker import Job, title_of
from ebm_cli.errors import NotTrustworthy
from ebm_cli.reporting.console import duration
from ebm_cli.reporting.sweep_table import JobRow, SweepTable

ENDED = ("finished", "stopped early", "diverged", "failed", "not to be trusted")
STATES = {3: "diverged", NotTrustworthy.exit_code: "not to be trusted"}
"""Exit code of a failed job → its state; any other is `failed`."""


class SweepBoard:
    """Rows of the jobs, kept current from their directories.

    Args:
        table: where they are shown.
        n_workers: jobs at a time.
        total: jobs of the sweep.
        monitor: key of their config.

    Attributes:
        is_ending: whether a signal ends the sweep.
        total: as given; less of it once others do a part.
    """

    def __init__(self, table: SweepTable, n_workers: int, total: int, monitor: str = "auto") -> None:
        self._table, self.total = table, total
        self._monitor = monitor
        self._rows: dict[int, JobRow] = {}
        self._watches: dict[int, JobWatch] = {}
        self._time = SweepTime(n_workers)
        self.is_ending = False

    def expect(self, jobs: Sequence[Job], settings: Sequence[str]) -> None:
        """Show jobs that wait, with what distinguishes each from the others."""
        for job, text in zip(jobs, settings, strict=True):
            self._rows[job.number] = JobRow(job.number, text)

    def began(self, job: Job, directory: Path) -> None:
        """Show that a job begins."""
        self._watches[job.number] = JobWatch(directory, self._monitor)
        self._rows[job.number] = self._rows[job.number]._replace(state="starting")
        self._table.began(self._rows[job.number])
        self.refresh()

    def ended(self, job: Job, failed: JobFailed | None, state: str = "finished") -> None:
        """Show that a job has ended.

        Args:
            job: the job.
            failed: why it failed; None if it did not.
            state: of a job that did not fail.
        """
        row, watch = self._rows[job.number], self._watches.pop(job.number, None)
        if watch is not None:
            watch.read()
            row = row._replace(step=watch.step, steps=watch.steps, result=watch.result)
            if failed is None or failed.exit_code == NotTrustworthy.exit_code:
                self._time.ended(watch)
        if failed is not None:
            reason = failed.line.removeprefix(f"{title_of(job)}: ")
            row, state = row._replace(reason=reason), STATES.get(failed.exit_code, "failed")
        self._rows[job.number] = row._replace(state=state, left=None)
        self._table.ended(self._rows[job.number], self.summary())
        self.refresh()

    def values(self) -> dict[int, dict[int, float]]:
        """Running job → step → value of its monitored result so far."""
        return {number: dict(watch.values) for number, watch in self._watches.items()}

    def refresh(self) -> None:
        """Read how far the running jobs are, and draw."""
        for number, watch in self._watches.items():
            watch.read()
            is_trained = watch.step == watch.steps
            work = "sampling" if watch.is_sampling else "evaluating" if is_trained else "training"
            state = "starting" if watch.step is None else work
            left = None if is_trained else watch.seconds_left
            self._rows[number] = self._rows[number]._replace(
                state=state, step=watch.step, steps=watch.steps, result=watch.result, left=left
            )
        self._table.update([self._rows[number] for number in sorted(self._rows)], self.summary())

    def count(self, *states: str) -> int:
        """Jobs in one of these states."""
        return sum(row.state in states for row in self._rows.values())

    def summary(self) -> str:
        """Counts of jobs that have ended and that run, and the time left."""
        ended = self.count(*ENDED)
        if self.is_ending:
            n = len(self._watches)
            running = f", the {n} that run{'s writes' if n == 1 else ' write'} a checkpoint" if n else ""
            return f"{ended} of {self.total} jobs done{running}"
        parts = [f"{ended} of {self.total} jobs done"]
        if self._watches:
            parts.append(f"{len(self._watches)} running")
        left = self._time.left(list(self._watches.values()), self.total - ended - len(self._watches))
        if left is not None and ended < self.total:
            parts.append(f"{'about' if self._time.is_whole else 'at least'} {duration(left)} left")
        return ", ".join(parts)


def differing(jobs: Sequence[Job]) -> list[str]:
    """The overrides of each job whose values differ from those of the others; of a single job all."""
    typed = [dict(word.partition("=")[::2] for word in job.overrides if not word.startswith("hydra.")) for job in jobs]
    keys = dict.fromkeys(key for words in typed for key in words)
    differ = [key for key in keys if len(jobs) == 1 or len({words.get(key) for words in typed}) > 1]
    return [" ".join(f"{key.lstrip('+')}={words[key]}" for key in differ if key in words) for words in typed]
