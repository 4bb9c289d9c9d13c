"""Claims about methods that an experiment measures itself, with one figure each; layer 8, imported by `commands` only.

`base` has the abstraction, `report` prints and writes what it found, `run` is a run that trains nothing. An experiment
names one under `measurement`.
"""

from ebm_cli.lecture.base import Measurement, Outcome
from ebm_cli.lecture.ula_bias import UlaBias

__all__ = ["Measurement", "Outcome", "UlaBias"]
