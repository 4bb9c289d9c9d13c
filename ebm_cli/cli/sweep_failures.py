"""The jobs of a sweep that failed, until its end.

Hydra raises the first failure once it has the results of all jobs, and a callback never sees the others. So a job of a
grid that failed is told to Hydra as one that returned nothing, and kept: in a list where it ran in this process, in a
file of the sweep's directory where a launcher (joblib, submitit) gave it another.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from omegaconf import DictConfig

from ebm_cli.system.files import write_text

NOTE = ".failed-{number}.json"


class JobFailed(Exception):
    """A job of a sweep failed, and has said so."""

    def __init__(self, exit_code: int, cfg: DictConfig, sweep_dir: Path, line: str = "") -> None:
        super().__init__(exit_code, cfg, sweep_dir, line)
        self.exit_code, self.cfg, self.sweep_dir, self.line = exit_code, cfg, sweep_dir, line


class SweepFailed(Exception):
    """Jobs of a sweep failed, and the others were done all the same."""

    def __init__(self, jobs: Sequence[JobFailed]) -> None:
        super().__init__(jobs)
        self.jobs = jobs


def note(failed: JobFailed, number: int) -> bool:
    """Leave word of a failure for the process that the sweep was started in; whether that could be written."""
    text = json.dumps({"exit_code": failed.exit_code, "line": failed.line})
    try:
        write_text(failed.sweep_dir / NOTE.format(number=number), text)
    except OSError:
        return False
    return True


def noted(cfg: DictConfig, sweep_dir: Path) -> list[JobFailed]:
    """The failures that word was left of, in the order of the jobs; the files are gone then.

    Args:
        cfg: what the sweep is judged by.
        sweep_dir: where the notes are.
    """
    found = []
    for path in _notes(sweep_dir):
        kept = json.loads(path.read_text(encoding="utf-8"))
        found.append(JobFailed(kept["exit_code"], cfg, sweep_dir, kept["line"]))
        path.unlink()
    return found


def forget(sweep_dir: Path) -> None:
    """Remove the notes of a sweep that did not come to its end."""
    for path in _notes(sweep_dir):
        path.unlink(missing_ok=True)


def _notes(sweep_dir: Path) -> Iterator[Path]:
    found = sweep_dir.glob(NOTE.format(number="*"))
    yield from sorted(found, key=lambda path: int(path.stem.rpartition("-")[2]))
