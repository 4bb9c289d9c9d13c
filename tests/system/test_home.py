"""Paths that begin with ~."""

from pathlib import Path

import pytest

from ebm_cli.system.home import expanded, is_there


def test_home_folder_takes_the_place_of_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/homes/me")
    assert expanded("~/a.csv") == Path("/homes/me/a.csv")
    assert expanded("~-inf") == Path("~-inf")


def test_text_that_is_no_path_is_not_there(tmp_path: Path) -> None:
    assert is_there(str(tmp_path))
    assert not any(map(is_there, (f"{tmp_path}/none", "a" * 5000, "a\0b", "~no.such.user/a")))
