"""Private names of Hydra: each one is looked up here, once, and has a public fallback.

| private name                   | used for                                              | without it                |
|--------------------------------|-------------------------------------------------------|---------------------------|
| `BasicSweeper.split_arguments` | list the jobs of a grid sweep before the first starts | jobs are validated one by |
|                                |                                                       | one, each as it starts    |

No other module imports `hydra._internal`. `tests/cli/test_hydra_internals.py` fails, by name, on a version of Hydra in
which one of them has changed.
"""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override


def _find(module: str, name: str) -> Any:
    """Look up a private name; None if this version of Hydra does not have it."""
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    return found


split_arguments: Callable[[list[Override], int | None], list[list[list[str]]]] | None
split_arguments = _find("hydra._internal.core_plugins.basic_sweeper", "BasicSweeper.split_arguments")
"""None in a version of Hydra without it."""


def grid_jobs(words: Sequence[str]) -> list[list[str]]:
    """Overrides of each job of a grid sweep, in Hydra's order; needs `split_arguments`.

    Args:
        words: overrides of the sweep, for instance ["seed=1,2", "steps=9"].
    """
    assert split_arguments is not None
    [jobs] = split_arguments(OverridesParser.create().parse_overrides(list(words)), None)
    return jobs
