"""Resolvers of the interpolations in `conf/`.

The directory of a run depends on the checkpoint that it resumes, and the default energy and noise on whether the data
set is a table.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ebm_cli.config.groups import is_table
from ebm_cli.runs.stored_config import run_dir


def register_resolvers(folders: Sequence[Path]) -> None:
    """Register `ebm_unless`, `ebm_run_dir`, `ebm_beside` and `ebm_table` with OmegaConf.

    Args:
        folders: where the options of groups are looked up.
    """
    resolvers: dict[str, Callable[..., Any]] = {
        "ebm_unless": lambda checkpoint, value: value if checkpoint is None else None,
        "ebm_run_dir": lambda checkpoint, fresh: fresh if checkpoint is None else _beside(checkpoint),
        "ebm_beside": _beside,
        "ebm_table": lambda dataset, of_table, other: of_table if is_table(dataset, folders) else other,
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)


def _beside(checkpoint: str | Sequence[str]) -> str:
    """Directory of the checkpoint's run, or of the file itself; `outputs` for a list of several checkpoints."""
    return str(run_dir(checkpoint) or Path(checkpoint).parent) if isinstance(checkpoint, str) else "outputs"
