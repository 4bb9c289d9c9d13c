"""Configs that lie on disk: whose run a path means, what it was trained with, and what may change when it goes on."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ebm_cli.config.schema import CHANGEABLE_ON_RESUME
from ebm_cli.config.trust import require_trusted, trust_of
from ebm_cli.errors import UserError
from ebm_cli.runs.record import read_plain


def run_dir(checkpoint: str | Path) -> Path | None:
    """The run directory that a path means: itself, or for RUN/checkpoints/FILE the RUN; None for a loose file."""
    path = Path(checkpoint)
    if path.is_dir():
        return path
    return path.parent.parent if path.parent.name == "checkpoints" else None


def stored_config(checkpoint: str | Path) -> DictConfig | None:
    """The resolved config in the run directory that a path means; None where there is none."""
    run = run_dir(checkpoint)
    path = run / "config.yaml" if run is not None else None
    if path is None or not path.is_file():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        read_plain(text)
        stored = OmegaConf.load(io.StringIO(text))
    except Exception as error:  # PyYAML and OmegaConf raise many kinds for a damaged file, and all mean the same here
        raise UserError(f"{path}: not a readable config ({(str(error).splitlines() or [''])[0]})") from error
    if not isinstance(stored, DictConfig):
        raise UserError(f"{path}: not a config")
    return stored


def continued(cfg: DictConfig, typed: Sequence[str]) -> DictConfig:
    """The stored config of the run `cfg.checkpoint`, with the few keys that a continued run may change.

    Args:
        cfg: the composed config, which holds the typed values.
        typed: the overrides as typed.

    Raises:
        UserError: another key was typed, or the run has no stored config.
    """
    allowed = {word.partition("=")[0].partition("@")[2] or word.partition("=")[0] for word in typed}
    for key in sorted(allowed):
        if key.partition(".")[0] not in CHANGEABLE_ON_RESUME:
            raise UserError(
                f"{key}: cannot change when a run is continued; only {', '.join(sorted(CHANGEABLE_ON_RESUME))} can. "
                f"Start a new run to change it"
            )
    stored = stored_config(cfg.checkpoint)
    if stored is None:
        raise UserError(f"checkpoint={cfg.checkpoint}: not a run directory (no config.yaml), so it cannot be continued")
    require_trusted(OmegaConf.to_container(stored, resolve=False), trust_of(cfg) or [])
    # And keys that came after the run began.
    for key in allowed | {"checkpoint", "trust"} | {str(key) for key in cfg if key not in stored}:
        OmegaConf.update(stored, key, OmegaConf.select(cfg, key), merge=False, force_add=True)
    return stored


def stored_form(cfg: DictConfig) -> dict[str, Any]:
    """The config as it is stored: plain, resolved, without the way by which this command came to it."""
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()} | {"checkpoint": None}
