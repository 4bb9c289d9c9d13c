"""The file metrics.jsonl: one flat JSON object a line, one line a logged step.

JSON has no NaN and no infinity: a number that is not finite is written as null. A step has one line, which takes in
values that are written for it later. Each line is handed to the system when `write` returns, so that a killed run loses
at most the line that it was writing.
"""

import json
import math
import os
from pathlib import Path
from types import TracebackType

from ebm_cli.evaluation.values import Value, Values
from ebm_cli.system.files import replacing


def dumps(values: Values) -> str:
    """A flat JSON object on one line; non-finite numbers become null."""
    return json.dumps({k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()})


class JsonLines:
    """A metrics file that lines are appended to.

    Args:
        path: the file, which is made if it does not exist. Its last line must be complete, see `cut_back`.
    """

    def __init__(self, path: Path) -> None:
        written = path.read_bytes() if path.exists() else b""
        self._start = written[:-1].rfind(b"\n") + 1
        self._row: dict[str, Value] = json.loads(written[self._start :] or b"{}")
        self._file = path.open("a", buffering=1, encoding="utf-8")

    def write(self, step: int, values: Values) -> None:
        """Append {"step": step, **values}; if the last line is of this step, add the values to it."""
        if self._row.get("step") == step:
            self._file.truncate(self._start)
        else:
            self._row = {"step": step}
        self._row |= values
        self._start = self._file.seek(0, os.SEEK_END)
        self._file.write(dumps(self._row) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> "JsonLines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read(path: Path) -> list[dict[str, Value]]:
    """Read every line of a metrics file, except a last line that a kill left incomplete.

    Raises:
        ValueError: another line is not a JSON object with a step.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    rows: list[dict[str, Value]] = []
    for i, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows.append(row)
        elif i < len(lines):
            raise ValueError(f"{path} line {i} is not a JSON object with a step")
    return rows


def cut_back(path: Path, step: int) -> None:
    """Drop every line after `step`, for a run that resumes there; if interrupted, the file is unchanged."""
    if not path.exists():
        return
    kept = [row for row in read(path) if isinstance(row["step"], int) and row["step"] <= step]
    with replacing(path, durable=True) as temporary:
        temporary.write_text("".join(dumps(row) + "\n" for row in kept), encoding="utf-8")
