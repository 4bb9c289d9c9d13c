"""The status of a run: its state, step and reason in status.json."""

import json
from pathlib import Path
from typing import Any, Literal

StateName = Literal["running", "finished", "interrupted", "diverged", "failed"]
EARLY = "stopped early"
"""First words of the reason of a run that a search has stopped; its state is `interrupted`."""


def read_status(path: Path) -> dict[str, Any] | None:
    """Contents of the directory's status.json; None if it is missing or damaged."""
    try:
        status = json.loads((path / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return status if isinstance(status, dict) else None
