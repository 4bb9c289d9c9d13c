"""The sampler of `ebm sample`: by default, the one that is stored in the run, or MALA where there is no run."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from ebm_cli.config.trust import require_trusted
from ebm_cli.runs.stored_config import stored_config


def choose_stored_sampler(overrides: Sequence[Override]) -> list[str]:
    """Make the sampler that is stored in the run an option of its group, named `stored`, and choose it.

    Returns the override, or none if a sampler was typed or no single run is named. As an option, the stored sampler can
    be overridden by key: `sampler.noise_scale=0`. A sweep over checkpoints has no single stored sampler; a list of
    checkpoints takes that of the first, and an energy without a run MALA.
    """
    typed = {override.key_or_group: override for override in overrides}
    checkpoint = typed.get("checkpoint")
    if "sampler" in typed:
        return []
    if checkpoint is None:
        return ["sampler=mala"] if any(key.partition(".")[0] == "energy" for key in typed) else []
    if checkpoint.is_sweep_override():
        return []
    value = checkpoint.value()
    path = str(value[0] if isinstance(value, list) and value else value)
    stored = stored_config(path) or _config_inside(path)
    if stored is None or not isinstance(stored.get("sampler"), DictConfig):
        return []
    trust = typed["trust"].value() if "trust" in typed else []
    sampler = OmegaConf.to_container(stored.sampler, resolve=False)
    require_trusted(sampler, trust if isinstance(trust, list) else [], "sampler")
    ConfigStore.instance().store(group="sampler", name="stored", node=sampler)
    return ["sampler=stored"]


def _config_inside(path: str) -> DictConfig | None:
    """The config in a checkpoint file that lies outside a run directory."""
    if not Path(path).is_file():
        return None
    from ebm_cli.runs import checkpoint as checkpoints  # imports torch

    config = checkpoints.read(Path(path))["config"]
    return OmegaConf.create(config) if isinstance(config, dict) else None
