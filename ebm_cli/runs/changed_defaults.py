"""Defaults that have changed: a command that is rerun for a run of earlier defaults still describes that run.

A run that stored the earlier default continues with it, unless its command names the key.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf


class ChangedDefault(NamedTuple):
    """A key of a training config, dotted, with its default before and now."""

    name: str
    before: Any
    now: Any


# log Z was annealed, whatever the energy is built on.
CHANGED_DEFAULTS = (ChangedDefault("eval.base", "gaussian", "auto"),)


def keep_old_defaults(cfg: DictConfig, stored: Mapping[str, Any], typed: Collection[str]) -> None:
    """Set the keys in a composed config to the earlier defaults that a run has stored.

    Args:
        cfg: composed; changed in place.
        stored: plain config of the run; may lack any key.
        typed: dotted keys that the command names, which keep their values.
    """
    for name, before, now in CHANGED_DEFAULTS:
        was: Any = stored
        for key in name.split("."):
            was = was.get(key) if isinstance(was, Mapping) else None
        if name not in typed and OmegaConf.select(cfg, name) == now and was == before:
            OmegaConf.update(cfg, name, before)
