"""Faster ways to run an energy: the mode that `compile=` chooses, and native code; layer 4, imported by
layers 5 and above."""

from ebm_cli.acceleration.native_calls import uncovered
from ebm_cli.acceleration.native_chains import NativeChains
from ebm_cli.acceleration.native_code import attach_native_code

__all__ = ["NativeChains", "attach_native_code", "uncovered"]
