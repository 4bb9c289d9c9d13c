"""Markov chain Monte Carlo kernels, the config group `sampler`, with the loops that run them and step-size adaptation;
layer 3, imported by layers 4 and above."""

from ebm_cli.derivatives import EnergyFn
from ebm_cli.samplers.adaptation import adapt, warm_up
from ebm_cli.samplers.base import Cost, Info, Kernel, State, select_chains
from ebm_cli.samplers.burn_in import settle
from ebm_cli.samplers.conditional import Conditional, posterior
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.loops import run, trace
from ebm_cli.samplers.mala import MALA
from ebm_cli.samplers.mclmc import MCLMC
from ebm_cli.samplers.metric import Metric, Preconditioned
from ebm_cli.samplers.metropolis import Metropolis
from ebm_cli.samplers.nuts import NUTS
from ebm_cli.samplers.schedules import Schedule, geometric
from ebm_cli.samplers.starts import replace_diverged, wide_starts
from ebm_cli.samplers.stuck import free_stuck, is_stuck
from ebm_cli.samplers.tempering import Tempering
from ebm_cli.samplers.underdamped import Underdamped

__all__ = [
    "HMC",
    "MALA",
    "MCLMC",
    "NUTS",
    "Conditional",
    "Cost",
    "EnergyFn",
    "Info",
    "Kernel",
    "Langevin",
    "Metric",
    "Metropolis",
    "Preconditioned",
    "Schedule",
    "State",
    "Tempering",
    "Underdamped",
    "adapt",
    "free_stuck",
    "geometric",
    "is_stuck",
    "posterior",
    "replace_diverged",
    "run",
    "select_chains",
    "settle",
    "trace",
    "warm_up",
    "wide_starts",
]
