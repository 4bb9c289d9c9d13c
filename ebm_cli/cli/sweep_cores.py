"""The cores of this machine, shared among the jobs of a sweep."""

import os

from ebm_cli.errors import UserError

THREADS = "OMP_NUM_THREADS"
"""Environment variable with the threads that numerical libraries take in a process."""


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_count(jobs: object) -> int:
    """Processes at a time that `jobs=` asks for.

    Raises:
        UserError: neither auto nor a whole number >= 1.
    """
    if jobs == "auto":
        return n_cores()
    if isinstance(jobs, int) and not isinstance(jobs, bool) and jobs >= 1:
        return jobs
    raise UserError(f"jobs={jobs}: the number of jobs at a time, >= 1, or auto (one a core)")


def threads_of_a_job(n_workers: int) -> int:
    """A job's share of the cores, at least 1; no more than the user allows a process (OMP_NUM_THREADS)."""
    share = max(1, n_cores() // n_workers)
    allowed = os.environ.get(THREADS, "")
    return min(share, int(allowed)) if allowed.isdigit() and int(allowed) else share
