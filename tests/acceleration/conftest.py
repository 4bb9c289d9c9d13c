"""Tests that replace the C++ compiler."""

import importlib

import pytest


@pytest.fixture(scope="session", autouse=True)
def _compiler_of_torch() -> None:
    """Have torch read CXX, as it does once in a process, before a test sets it to what compiles nothing."""
    importlib.import_module("torch._inductor.config")
