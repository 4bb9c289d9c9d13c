"""Failed jobs of a sweep, kept until its end.

Hydra raises the first failure once it has the results of all jobs, and no callback sees the others. Therefore a job of
a grid sweep that fails returns None to Hydra, and its failure is kept: in a list if the job ran in this process, in a
file of the sweep's directory if a launcher (joblib, submitit) ran it in another.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from omegaconf import DictConfig

from ebm_cli.system.files import write_text

FILE = ".failed-{number}.json"


class JobFailed(Exception):
    """A job of a sweep failed; its message was printed.

    Args:
        exit_code: of the job's error.
        cfg: config by which the sweep is judged.
        sweep_dir: directory of the sweep, absolute.
        line: the message.
    """

    def __init__(self, exit_code: int, cfg: DictConfig, sweep_dir: Path, line: str = "") -> None:
        super().__init__(exit_code, cfg, sweep_dir, line)
        self.exit_code, self.cfg, self.sweep_dir, self.line = exit_code, cfg, sweep_dir, line


class SweepFailed(Exception):
    """Some jobs of a sweep failed; all others were run."""

    def __init__(self, jobs: Sequence[JobFailed]) -> None:
        super().__init__(jobs)
        self.jobs = jobs


def write_failure(failed: JobFailed, number: int) -> bool:
    """Record a failed job for the parent process. Returns False if the file cannot be written."""
    text = json.dumps({"exit_code": failed.exit_code, "line": failed.line})
    try:
        write_text(failed.sweep_dir / FILE.format(number=number), text)
    except OSError:
        return False
    return True


def read_failures(cfg: DictConfig, sweep_dir: Path) -> list[JobFailed]:
    """Read the failures that other processes recorded, in the order of the jobs, and remove their files.

    Args:
        cfg: config by which the sweep is judged.
        sweep_dir: directory of the sweep.
    """
    failures = []
    for path in _files(sweep_dir):
        failures.append(_read(path, cfg, sweep_dir))
        path.unlink()
    return failures


def failure_of(number: int, cfg: DictConfig, sweep_dir: Path) -> JobFailed | None:
    """The failure that another process recorded for a job, which stays recorded; None if there is none."""
    path = sweep_dir / FILE.format(number=number)
    return _read(path, cfg, sweep_dir) if path.exists() else None


def take_failure(number: int, cfg: DictConfig, sweep_dir: Path) -> JobFailed | None:
    """The failure that another process recorded for a job, which is removed; None if there is none."""
    found = failure_of(number, cfg, sweep_dir)
    (sweep_dir / FILE.format(number=number)).unlink(missing_ok=True)
    return found


def clear_failures(sweep_dir: Path) -> None:
    """Remove the records of an earlier sweep that did not reach its end."""
    for path in _files(sweep_dir):
        path.unlink(missing_ok=True)


def _read(path: Path, cfg: DictConfig, sweep_dir: Path) -> JobFailed:
    stored = json.loads(path.read_text(encoding="utf-8"))
    return JobFailed(stored["exit_code"], cfg, sweep_dir, stored["line"])


def _files(sweep_dir: Path) -> Iterator[Path]:
    found = sweep_dir.glob(FILE.format(number="*"))
    yield from sorted(found, key=lambda path: int(path.stem.rpartition("-")[2]))
