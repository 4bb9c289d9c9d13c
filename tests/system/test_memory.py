"""The C library is told to keep freed memory, where it is one that can be told."""

import ctypes

import pytest

from ebm_cli.system.memory import keep_freed_memory


def test_glibc_takes_it() -> None:
    """Both parameters are within what mallopt accepts: else it says 0."""
    assert keep_freed_memory() is hasattr(ctypes.CDLL(None), "mallopt")


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not keep_freed_memory()
