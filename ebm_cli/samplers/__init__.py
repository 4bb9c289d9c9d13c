"""Markov chain Monte Carlo: one file a kernel, the loops that run them, and step-size adaptation."""

from ebm_cli.samplers.adaptation import adapt
from ebm_cli.samplers.base import EnergyFn, Info, Kernel, Schedule, State, geometric, run, trace

__all__ = ["EnergyFn", "Info", "Kernel", "Schedule", "State", "adapt", "geometric", "run", "trace"]
