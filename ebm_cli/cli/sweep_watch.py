"""A job of a sweep while another process runs it: how far it is, read from the files of its directory."""

import json
import time
from collections import deque
from pathlib import Path

from ebm_cli.evaluation.monitored import monitored_value
from ebm_cli.evaluation.result_registry import MONITORED
from ebm_cli.evaluation.values import number
from ebm_cli.runs.shards import MANIFEST
from ebm_cli.runs.status import read_status

WINDOW = 10.0
"""Seconds over which the speed is averaged."""
GROUPS = ("eval", "val")
LOSSES = tuple(f"train/{name}" for name in ("loss", "loss_flow"))


class JobWatch:
    """Reads status.json and what is new in metrics.jsonl; of a job that samples its manifest.

    Args:
        directory: of the job; nothing in it need exist yet.
        monitor: its key of the config.

    Attributes:
        state: in status.json; empty before it is written by this attempt.
        step, steps: reached and planned, or samples written and asked for; None while they are unknown.
        is_sampling: whether they are samples.
        values: step → value of the monitored result.
        result: key and value of the newest monitored result, else of the loss; None if there is neither.
        trained: moment of `time.monotonic` at which the last step was read; None before it.
    """

    def __init__(self, directory: Path, monitor: str = "auto") -> None:
        self.directory, self._monitor = directory, monitor
        self._began = time.monotonic()
        self.state = ""
        self.step: int | None = None
        self.steps: int | None = None
        self.is_sampling = False
        self.values: dict[int, float] = {}
        self.result: tuple[str, float] | None = None
        self.trained: float | None = None
        self._file, self._offset = 0, 0
        self._times: deque[tuple[float, int]] = deque()

    def read(self) -> None:
        """Read what there is; a file that is missing or being written changes nothing."""
        status = read_status(self.directory)
        if status is not None:
            self.state = str(status.get("state"))
            step, steps = status.get("step"), status.get("steps")
            self.steps = steps if isinstance(steps, int) else None
            if isinstance(step, int):
                self.step = max(step, self.step or 0) if self.state == "running" else step
        else:
            self._read_manifest()
        self._read_metrics()
        if self.trained is None and self.step is not None and self.step == self.steps:
            self.trained = time.monotonic()
        if self.step is not None and (not self._times or self._times[-1][1] != self.step):
            self._times.append((time.monotonic(), self.step))
            while len(self._times) > 2 and self._times[1][0] < self._times[-1][0] - WINDOW:
                self._times.popleft()

    @property
    def seconds(self) -> float:
        """Seconds since the job began."""
        return time.monotonic() - self._began

    @property
    def seconds_since_trained(self) -> float | None:
        """Seconds since the last step; None before it."""
        return None if self.trained is None else time.monotonic() - self.trained

    @property
    def did_work(self) -> bool:
        """True if the job has made a step while it was watched: a finished one is skipped in no time."""
        return len(self._times) > 1

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the last step at the present speed; None while it is unknown."""
        if len(self._times) < 2 or self.step is None or self.steps is None:
            return None
        (then, before), (_, step) = self._times[0], self._times[-1]
        elapsed = self._times[-1][0] - then
        return None if step <= before else max(0.0, (self.steps - step) * elapsed / (step - before))

    def _read_manifest(self) -> None:
        """Count the samples of `ebm sample` that are in files."""
        try:
            found = json.loads((self.directory / MANIFEST).read_text(encoding="utf-8"))
            self.step, self.steps = found["n_written"], found["n_samples"]
        except (OSError, ValueError, KeyError):
            return
        self.is_sampling = True

    def _read_metrics(self) -> None:
        path = self.directory / "metrics.jsonl"
        try:
            found = path.stat()
            if (
                found.st_ino != self._file or found.st_size < self._offset
            ):  # cut back, into a new file, by a resumed run
                self._file, self._offset = found.st_ino, 0
            with path.open("rb") as file:
                file.seek(self._offset)
                text = file.read()
        except OSError:
            return
        whole = text.rfind(b"\n") + 1
        # The last line is rewritten when values are added to its step.
        self._offset += text[: max(0, whole - 1)].rfind(b"\n") + 1
        for line in text[:whole].splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            self._take(row)

    def _take(self, row: object) -> None:
        if not isinstance(row, dict):
            return
        if isinstance(row.get("step"), int):
            self.step = row["step"]
            value = monitored_value(self._monitor, row)
            if value is not None:
                self.values[self.step] = value
        wanted = [f"{group}/{name}" for group in GROUPS for name in MONITORED]
        found = next(((key, value) for key in wanted if (value := number(row, key)) is not None), None)
        if found is None and (self.result is None or self.result[0] in LOSSES):
            found = next(((key, value) for key in LOSSES if (value := number(row, key)) is not None), None)
        self.result = found or self.result
