"""Overrides that the shell has divided at a space."""

from pathlib import Path

import pytest

from ebm_cli.cli.split_words import require_whole
from ebm_cli.errors import UserError

KEYS = {"steps", "sampler", "optimizer.betas", "checkpoint"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my run").mkdir()
    (tmp_path / "sampler").mkdir()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("steps = 100", "steps = 100: no spaces around =; type steps=100"),
        ("steps =100", "steps = 100: no spaces around =; type steps=100"),
        ("steps= 100", "steps= 100: no space after =; type steps=100"),
        ("seed=1 steps 100", "steps 100: a key is set with steps=100"),
        ("steps seed=1", "steps: a key is set with steps=VALUE"),
        (
            "optimizer.betas=[0.9, 0.99]",
            "optimizer.betas=[0.9, 0.99]: quote it, or leave the spaces out: 'optimizer.betas=[0.9,0.99]'",
        ),
        ("checkpoint=my run", "checkpoint=my run: quote a path with a space: \"checkpoint='my run'\""),
        ("my run", "my run: quote a path with a space: 'my run'"),
    ],
)
def test_divided_override_is_shown_in_one_word(line: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        require_whole(line.split(" "), KEYS)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    "line",
    [
        "",
        "steps=100 seed=1",
        "a b",
        "checkpoint=a b",
        "only= seed=1",
        "sampler",
        "x=[1,2] y=(3)",
        "x=[1 y=2]",
        f"a={'b' * 300} {'c' * 300}",
        "a=\0 b",
    ],
)
def test_control_other_words_are_left_alone(line: str) -> None:
    require_whole(line.split(" "), KEYS)
