"""`ebm`: a command-line experiment runner for energy-based models.

In a notebook, `ebm_cli.load(PATH)` gives back what a run trained: the energy, its data set and the run's metadata.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ebm_cli.runs.model import load as load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    # Imported when it is asked for: `ebm --help` imports this package, and must not import torch.
    if name == "load":
        from ebm_cli.runs.model import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
