"""A run keeps the defaults of its time, unless its command names the key."""

import pytest
from omegaconf import OmegaConf

from ebm_cli.runs.changed_defaults import keep_old_defaults


@pytest.mark.parametrize(
    ("stored", "typed", "kept"),
    [
        ({"eval": {"base": "gaussian"}}, (), "gaussian"),
        ({"eval": {"base": "gaussian"}}, ("eval.base",), "auto"),
        ({"eval": {"base": "method"}}, (), "auto"),
        ({"eval": {"base": "auto"}}, (), "auto"),
        ({}, (), "auto"),
    ],
)
def test_old_default_is_kept(stored: dict[str, object], typed: tuple[str, ...], kept: str) -> None:
    cfg = OmegaConf.create({"eval": {"base": "auto"}})
    keep_old_defaults(cfg, stored, typed)
    assert cfg.eval.base == kept
