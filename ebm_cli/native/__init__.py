"""Chains in native code: a C++ kernel built on demand, with torch as what is left where it cannot be had."""

from ebm_cli.native.chains import NativeChains, attach

__all__ = ["NativeChains", "attach"]
