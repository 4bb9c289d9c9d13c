"""Paths that begin with ~."""

from pathlib import Path

import pytest

from ebm_cli.system.home import expanded


def test_home_folder_takes_the_place_of_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/homes/me")
    assert expanded("~/a.csv") == Path("/homes/me/a.csv")
    assert expanded("~-inf") == Path("~-inf")
