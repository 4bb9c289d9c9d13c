"""Markov chain Monte Carlo kernels, the config group `sampler`, with the loops that run them and step-size adaptation;
layer 3, imported by layers 4 and above."""

from ebm_cli.derivatives import EnergyFn
from ebm_cli.samplers.adaptation import adapt, warm_up
from ebm_cli.samplers.base import Cost, Info, Kernel, State, select_chains
from ebm_cli.samplers.conditional import Conditional, posterior
from ebm_cli.samplers.loops import run, trace
from ebm_cli.samplers.schedules import Schedule, geometric
from ebm_cli.samplers.starts import replace_diverged, wide_starts

__all__ = [
    "Conditional",
    "Cost",
    "EnergyFn",
    "Info",
    "Kernel",
    "Schedule",
    "State",
    "adapt",
    "geometric",
    "posterior",
    "replace_diverged",
    "run",
    "select_chains",
    "trace",
    "warm_up",
    "wide_starts",
]
