"""Validation of a whole config: what needs no class is refused before one is imported, and torch with it."""

import pytest
from hydra import compose, initialize_config_dir

from ebm_cli.config import validate as module
from ebm_cli.config.groups import conf_dir
from ebm_cli.config.validate import validate
from ebm_cli.errors import UserError


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("steps=-5", "steps must be >= 1, got -5"),
        ("batch_size=0", "batch_size must be >= 1, got 0"),
        ("eval.n_samples=3", "eval.n_samples must be >= 10, got 3"),
        ("optimizer.lr=-1", "optimizer.lr must be finite and > 0, got -1"),
        ("optimizer.lr=nan", "optimizer.lr must be finite and > 0, got nan"),
        ("steps=many", "steps must be a whole number, got 'many'"),
    ],
)
def test_range_is_checked_before_a_class_is_imported(word: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control, a default config, gets as far as its classes."""

    def imported(*args: object) -> None:
        raise AssertionError("a class was looked at")

    monkeypatch.setattr(module, "read_node", imported)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        wrong, default = compose("train", [word]), compose("train")
    with pytest.raises(UserError) as refused:
        validate(wrong, "train")
    assert str(refused.value) == message
    with pytest.raises(AssertionError, match="a class was looked at"):
        validate(default, "train")
