"""Markov chain Monte Carlo kernels, the config group `sampler`, with the loops that run them and step-size adaptation;
layer 3, imported by layers 4 and above."""

from ebm_cli.samplers.adaptation import adapt, warm_up
from ebm_cli.samplers.base import EnergyFn, Info, Kernel, Schedule, State, geometric, run, trace
from ebm_cli.samplers.conditional import Conditional, posterior
from ebm_cli.samplers.starts import wide_starts

__all__ = [
    "Conditional",
    "EnergyFn",
    "Info",
    "Kernel",
    "Schedule",
    "State",
    "adapt",
    "geometric",
    "posterior",
    "run",
    "trace",
    "warm_up",
    "wide_starts",
]
